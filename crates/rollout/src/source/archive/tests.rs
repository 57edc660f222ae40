use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::os::unix::fs::PermissionsExt;

/// Builds a tar from headers as they are, unfit ones too.
struct Tar(Vec<u8>);

impl Tar {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn member(self, name: &str, kind: tar::EntryType, mode: u32, content: &[u8]) -> Self {
        self.member_sized(name, kind, mode, content, content.len() as u64)
    }

    fn member_sized(
        mut self,
        name: &str,
        kind: tar::EntryType,
        mode: u32,
        content: &[u8],
        size: u64,
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name_literal("target").unwrap();
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().div_ceil(512) * 512, 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.member(name, tar::EntryType::Regular, 0o644, content.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(members: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, mode, content) in members {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(*mode);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Unpacks; gives back the folder with everything in it and the place of the tasks, or the message.
fn unpack_bytes(name: &str, bytes: &[u8], limits: &Limits) -> Result<(tempfile::TempDir, PathBuf), String> {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join(name);
    std::fs::write(&archive, bytes).unwrap();
    let tasks = unpack(&archive, &dir.path().join("in"), limits).map_err(|e| {
        // Nothing may have come out beside the folder, whatever went wrong.
        let beside: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(beside.iter().all(|n| *n == "in" || *n == name), "{beside:?}");
        e.to_string()
    })?;
    Ok((dir, tasks))
}

fn refused(name: &str, bytes: &[u8]) -> String {
    unpack_bytes(name, bytes, &Limits::default()).map(|_| ()).unwrap_err()
}

#[test]
fn all_formats_come_out_the_same_with_modes_cut_to_executable_or_not() {
    let tar = Tar::new()
        .member("./", tar::EntryType::Directory, 0o700, b"")
        .member("./one/", tar::EntryType::Directory, 0o700, b"")
        .file("./one/task.toml", "")
        .member("./one/tests/test.sh", tar::EntryType::Regular, 0o4711, b"exit 0\n")
        .member("two/task.toml", tar::EntryType::Regular, 0o600, b"x")
        .end();
    let zip = zip_of(&[
        ("one/task.toml", 0o644, b""),
        ("one/tests/test.sh", 0o4711, b"exit 0\n"),
        ("two/task.toml", 0o600, b"x"),
    ]);
    let tgz = gz(&tar);
    for (name, bytes) in [("d.tar", &tar), ("d.tar.gz", &tgz), ("D.TGZ", &tgz), ("d.zip", &zip)] {
        let (_dir, tasks) = unpack_bytes(name, bytes, &Limits::default()).unwrap();
        assert_eq!(std::fs::read(tasks.join("one/tests/test.sh")).unwrap(), b"exit 0\n", "{name}");
        let mode = |path: &str| std::fs::metadata(tasks.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("one/tests/test.sh"), mode("two/task.toml")), (0o755, 0o644), "{name}");
    }
}

#[test]
fn a_wrapping_folder_is_looked_through_and_a_task_is_not() {
    let wrapped =
        Tar::new().file("data/verifiable_tasks.txt", "a\n").file("data/a/task.toml", "").file("._data", "");
    let (dir, tasks) = unpack_bytes("d.tar", &wrapped.end(), &Limits::default()).unwrap();
    assert_eq!(tasks, dir.path().join("in/data"));
    let one = Tar::new().file("a/task.toml", "").end();
    let (dir, tasks) = unpack_bytes("d.tar", &one, &Limits::default()).unwrap();
    assert_eq!(tasks, dir.path().join("in"));
    let flat = Tar::new().file("task.toml", "").file("tests/test.sh", "").end();
    let (dir, tasks) = unpack_bytes("d.tar", &flat, &Limits::default()).unwrap();
    assert_eq!(tasks, dir.path().join("in"));
}

#[test]
fn nothing_leaves_the_folder() {
    for (name, says) in [
        ("../evil", "would leave the folder"),
        ("a/../../evil", "would leave the folder"),
        ("a/..", "would leave the folder"),
        ("/etc/evil", "absolute path"),
        ("C:/evil", "absolute path"),
        ("a\\..\\evil", "backslash"),
        ("a\nb", "control character"),
        ("a\u{1b}[2J", "control character"),
    ] {
        let tar = Tar::new().file("ok/task.toml", "").file(name, "x").end();
        for error in [
            refused("d.tar", &tar),
            refused("d.tgz", &gz(&tar)),
            refused("d.zip", &zip_of(&[(name, 0o644, b"x")])),
        ] {
            assert!(error.contains(says), "{name:?}: {error}");
        }
    }
}

#[test]
fn a_long_name_in_an_extension_is_checked_too() {
    let long = format!("{}/../../../evil", "a/".repeat(80));
    let tar = Tar::new()
        .member("././@LongLink", tar::EntryType::GNULongName, 0o644, long.as_bytes())
        .file("short", "x")
        .end();
    assert!(refused("d.tar", &tar).contains("would leave the folder"));
    let record = "22 path=../../../evil\n";
    assert_eq!(record.len(), 22);
    let tar =
        Tar::new().member("pax", tar::EntryType::XHeader, 0o644, record.as_bytes()).file("short", "x").end();
    assert!(refused("d.tar", &tar).contains("would leave the folder"));
}

#[test]
fn links_and_devices_are_refused() {
    use tar::EntryType as E;
    for kind in [E::Symlink, E::Link, E::Char, E::Block, E::Fifo, E::GNUSparse, E::new(b'Z')] {
        let error = refused("d.tar", &Tar::new().member("x", kind, 0o644, b"").end());
        assert!(
            error.contains("link, device or the like") || error.contains("cannot be read"),
            "{kind:?}: {error}"
        );
    }
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.add_symlink("x", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    let error = refused("d.zip", &writer.finish().unwrap().into_inner());
    assert!(error.contains("link, device or the like"), "{error}");
}

#[test]
fn a_link_cannot_be_written_through() {
    // The classic: a link first, then a file below it.
    let tar = Tar::new().member("a", tar::EntryType::Symlink, 0o777, b"").file("a/evil", "x").end();
    assert!(refused("d.tar", &tar).contains("link"));
}

#[test]
fn names_that_clash_are_refused() {
    for (names, says) in [
        (["a/x", "a/x"], "two members of one name"),
        (["a/x", "./a//x"], "two members of one name"),
        (["a/x", "A/y"], "case does not count"),
        (["Readme", "README"], "case does not count"),
        (["a", "a/x"], "both a file and a folder"),
        (["a/x", "a"], "both a file and a folder"),
    ] {
        let tar = names.iter().fold(Tar::new(), |tar, name| tar.file(name, "x")).end();
        let error = refused("d.tar", &tar);
        assert!(error.contains(says), "{names:?}: {error}");
    }
    // The library's writer refuses doubled names, so one is patched in.
    let mut zip = zip_of(&[("aaaa", 0o644, b"1"), ("bbbb", 0o644, b"2")]);
    for at in 0..zip.len() - 4 {
        if &zip[at..at + 4] == b"bbbb" {
            zip[at..at + 4].copy_from_slice(b"aaaa");
        }
    }
    assert!(refused("d.zip", &zip).contains("two members of one name"));
}

#[test]
fn bombs_are_stopped_before_they_unfold() {
    let limits = Limits { members: 3, bytes: 1 << 20, ratio: 10, small: 64 * 1024 };
    let zeros = vec![0u8; 200 * 1024];
    let tar = Tar::new().member("zeros", tar::EntryType::Regular, 0o644, &zeros).end();
    for (name, bytes) in [("d.tgz", gz(&tar)), ("d.zip", zip_of(&[("zeros", 0o644, &zeros)]))] {
        let error = unpack_bytes(name, &bytes, &limits).map(|_| ()).unwrap_err();
        assert!(error.contains("decompression bomb"), "{name}: {error}");
    }
    // The same bytes as they are: ten times the archive would be fine.
    unpack_bytes("d.tar", &tar, &limits).unwrap();
    let many = (0..9).fold(Tar::new(), |tar, i| tar.file(&format!("f{i}"), ""));
    let error = unpack_bytes("d.tar", &many.end(), &limits).map(|_| ()).unwrap_err();
    assert!(error.contains("more than may be unpacked"), "{error}");
}

#[test]
fn sizes_that_are_claimed_but_not_there_are_no_danger() {
    let tar = Tar::new().member_sized("x", tar::EntryType::Regular, 0o644, b"", u64::MAX / 2).end();
    let error = refused("d.tar", &tar);
    assert!(error.contains("more than may be unpacked") || error.contains("cannot be read"), "{error}");
    let tar =
        Tar::new().member_sized("././@LongLink", tar::EntryType::GNULongName, 0o644, b"", 1 << 40).end();
    let error = refused("d.tar", &tar);
    assert!(error.contains("larger than 1 MiB"), "{error}");
}

#[test]
fn torn_and_foreign_files_are_named() {
    let whole = gz(&Tar::new().member("x", tar::EntryType::Regular, 0o644, &[7; 4000]).end());
    assert!(refused("d.tgz", &whole[..whole.len() - 20]).contains("cannot be read to its end"));
    for name in ["d.tgz", "d.tar", "d.zip"] {
        assert!(refused(name, b"not an archive at all").contains("cannot be read to its end"), "{name}");
    }
    assert!(refused("d.rar", b"Rar!").contains("neither a folder nor"));
}

#[test]
fn stems_name_single_tasks() {
    for (name, expected) in
        [("x.tar.gz", "x"), ("x.TGZ", "x"), ("a.b.zip", "a.b"), ("x", "x"), (".zip", ".zip")]
    {
        assert_eq!(stem(name), expected);
    }
}
