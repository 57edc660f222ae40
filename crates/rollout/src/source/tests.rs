use super::*;
use std::os::unix::fs::PermissionsExt;

/// A folder of tasks and a target to prepare them in.
struct World(tempfile::TempDir);

impl World {
    fn new(ids: &[&str]) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(world.source()).unwrap();
        for id in ids {
            world.task(id);
        }
        world
    }

    fn source(&self) -> PathBuf {
        self.0.path().join("source")
    }

    fn target(&self) -> PathBuf {
        self.0.path().join("artifacts/tasks/source")
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.source().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn task(&self, id: &str) {
        self.write(&format!("{id}/task.toml"), "version = \"1.0\"\n");
        self.write(&format!("{id}/instruction.md"), "Do it.\n");
        self.write(&format!("{id}/environment/Dockerfile"), "FROM debian\n");
        self.write(&format!("{id}/tests/test.sh"), "exit 0\n");
    }

    fn manifest(&self, text: &str) {
        self.write("verifiable_tasks.txt", text);
    }

    fn with(&self, options: PrepareOptions) -> Result<Prepared, PrepareError> {
        prepare(Provider::Local, &self.source(), "source", &self.target(), &options)
    }

    fn prepare(&self) -> Prepared {
        self.with(PrepareOptions::default()).unwrap()
    }

    fn error(&self) -> String {
        self.with(PrepareOptions::default()).unwrap_err().to_string()
    }

    fn prepared_file(&self, path: &str) -> String {
        std::fs::read_to_string(self.target().join(path)).unwrap()
    }
}

#[test]
fn the_manifest_gates_and_orders() {
    let world = World::new(&["a", "b", "c"]);
    world.manifest("c # last made\n# b is broken\na\n");
    let prepared = world.prepare();
    assert_eq!(prepared.tasks, ["c", "a"]);
    assert_eq!(prepared.copied, ["c", "a"]);
    assert_eq!(prepared.warnings, [""; 0]);
    assert_eq!(world.prepared_file("c/instruction.md"), "Do it.\n");
    let mut there: Vec<_> = std::fs::read_dir(world.target())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, [".source.json", "a", "c"]);
}

#[test]
fn without_a_manifest_all_tasks_come_by_byte_order_with_a_warning() {
    let world = World::new(&["b", "a", "Z", "é"]);
    world.write("no-task/readme.md", "");
    world.write(".hidden/task.toml", "");
    let prepared = world.prepare();
    assert_eq!(prepared.tasks, ["Z", "a", "b", "é"]);
    assert_eq!(prepared.warnings.len(), 1);
    assert!(
        prepared.warnings[0]
            .contains("no verifiable_tasks.txt: every task in it is taken, verified or not (4)"),
        "{:?}",
        prepared.warnings
    );
}

#[test]
fn entries_without_a_task_are_counted() {
    let world = World::new(&["a"]);
    world.manifest("x\na\n../a\n");
    let prepared = world.prepare();
    assert_eq!((prepared.tasks, prepared.missing), (vec!["a".into()], vec!["x".into(), "../a".into()]));
    assert!(prepared.warnings[0].contains("2 of 3 entries have no folder with a task.toml: x, ../a"));
}

#[test]
fn manifests_that_lead_to_nothing_are_errors() {
    let world = World::new(&["a"]);
    world.manifest("x\ny\n");
    assert!(world.error().contains("2 of 2 entries have no folder"));
    world.manifest("# none\n\n");
    assert!(world.error().contains("names no task"));
    let world = World::new(&[]);
    assert!(world.error().contains("has neither a verifiable_tasks.txt nor a folder with a task.toml"));
    assert!(!world.target().exists(), "nothing is left behind");
}

#[test]
fn invalid_tasks_are_skipped_and_refused_when_strict() {
    let world = World::new(&["a", "b"]);
    world.write("b/task.toml", "[agent]\ntimeout_sec = \"x\"\n");
    world.manifest("b\na\n");
    let prepared = world.prepare();
    assert_eq!(prepared.tasks, ["a"]);
    assert_eq!(prepared.skipped[0].task_id, "b");
    assert!(prepared.skipped[0].to_string().contains("task 'b' is skipped: task.toml:2: agent.timeout_sec"));

    let world2 = World::new(&["a", "b"]);
    world2.write("b/task.toml", "[agent]\ntimeout_sec = \"x\"\n");
    let error = world2.with(PrepareOptions { strict: true, overwrite: false }).unwrap_err();
    assert!(matches!(&error, PrepareError::Strict { skipped } if skipped.len() == 1), "{error}");
    assert!(!world2.target().join("a").exists(), "nothing was copied");

    std::fs::remove_dir_all(world.source().join("a")).unwrap();
    assert!(world.error().contains("none of its tasks can run: b: task.toml:2"));
}

#[test]
fn unchanged_tasks_are_left_alone_and_changed_ones_reported() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new(&["a", "b"]);
    world.manifest("a\nb\n");
    world.prepare();
    let inode = |id: &str| std::fs::metadata(world.target().join(id)).unwrap().ino();
    let before = (inode("a"), inode("b"));
    let again = world.prepare();
    assert_eq!((again.tasks.len(), again.copied.len(), again.changed.len()), (2, 0, 0));

    world.write("b/instruction.md", "Do more.\n");
    let changed = world.prepare();
    assert_eq!(
        (changed.tasks.as_slice(), changed.changed.as_slice()),
        (["a".into(), "b".into()].as_slice(), ["b".to_owned()].as_slice())
    );
    assert!(changed.warnings[0].contains("--overwrite replaces it"));
    assert_eq!(world.prepared_file("b/instruction.md"), "Do it.\n");
    assert_eq!((inode("a"), inode("b")), before);

    let overwritten = world.with(PrepareOptions { overwrite: true, strict: false }).unwrap();
    assert_eq!(overwritten.copied, ["b"]);
    assert_eq!(world.prepared_file("b/instruction.md"), "Do more.\n");
    assert_eq!(inode("a"), before.0);
}

#[test]
fn every_kind_of_change_is_seen() {
    let world = World::new(&["a"]);
    world.manifest("a\n");
    world.prepare();
    let test = world.source().join("a/tests/test.sh");
    let changed = || world.prepare().changed.len();
    std::fs::set_permissions(&test, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(changed(), 1, "a mode");
    std::fs::set_permissions(&test, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(changed(), 0, "a mode that is not kept");
    world.write("a/tests/test.sh", "exit 1\n");
    assert_eq!(changed(), 1, "content of the same length");
    world.write("a/tests/test.sh", "exit 0\n");
    world.write("a/tests/more.sh", "");
    assert_eq!(changed(), 1, "a file more");
    std::fs::remove_file(world.source().join("a/tests/more.sh")).unwrap();
    std::os::unix::fs::symlink("test.sh", world.source().join("a/tests/link")).unwrap();
    assert_eq!(changed(), 1, "a link more");
    let mended = world.with(PrepareOptions { overwrite: true, strict: false }).unwrap();
    assert_eq!(mended.copied, ["a"]);
    let link = std::fs::read_link(world.target().join("a/tests/link")).unwrap();
    assert_eq!(link, Path::new("test.sh"));
}

#[test]
fn a_broken_copy_is_not_run() {
    let world = World::new(&["a", "b"]);
    world.manifest("a\nb\n");
    world.prepare();
    std::fs::remove_file(world.target().join("a/task.toml")).unwrap();
    let prepared = world.prepare();
    assert_eq!(prepared.tasks, ["b"]);
    assert!(prepared.skipped[0].reason.contains("the prepared copy is broken"), "{prepared:?}");
    let mended = world.with(PrepareOptions { overwrite: true, strict: false }).unwrap();
    assert_eq!((mended.tasks.len(), mended.copied.as_slice()), (2, ["a".to_owned()].as_slice()));
}

#[test]
fn what_a_dead_preparation_left_is_cleaned_up() {
    let world = World::new(&["a"]);
    let half = world.target().join(".staging/new/a/tests");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("test.sh"), "half").unwrap();
    assert_eq!(world.prepare().copied, ["a"]);
    assert!(!world.target().join(".staging").exists());
}

#[test]
fn tasks_that_lead_out_are_skipped() {
    let world = World::new(&["a", "b"]);
    std::fs::write(world.0.path().join("secret"), "s").unwrap();
    std::os::unix::fs::symlink("../../../secret", world.source().join("b/environment/s")).unwrap();
    let prepared = world.prepare();
    assert_eq!(prepared.tasks, ["a"]);
    assert!(prepared.skipped[0].reason.contains("leaves the task"));
    assert!(!world.target().join("b").exists());
}

#[test]
fn one_task_is_a_source_of_its_own() {
    let world = World::new(&["only"]);
    let source = world.source().join("only");
    let target = world.0.path().join("artifacts/tasks/only");
    let prepared = prepare(Provider::Local, &source, "only", &target, &PrepareOptions::default()).unwrap();
    assert_eq!((prepared.tasks, prepared.warnings), (vec!["only".into()], vec![]));
    assert!(target.join("only/task.toml").exists());
}

#[test]
fn archives_hold_one_task_or_many() {
    let world = World::new(&["a", "b"]);
    world.manifest("b\na\n");
    std::fs::set_permissions(world.source().join("a/tests/test.sh"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    let pack = |name: &str, folder: &Path, inside: &str| {
        let path = world.0.path().join(name);
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
            std::fs::File::create(&path).unwrap(),
            flate2::Compression::fast(),
        ));
        builder.append_dir_all(inside, folder).unwrap();
        builder.into_inner().unwrap().finish().unwrap();
        path
    };
    let run = |path: &Path, dataset: &str| {
        let target = world.0.path().join("artifacts/tasks").join(dataset);
        (prepare(Provider::Local, path, dataset, &target, &PrepareOptions::default()).unwrap(), target)
    };
    let many = pack("many.tar.gz", &world.source(), "wrapped");
    let (prepared, target) = run(&many, "many.tar.gz");
    assert_eq!(prepared.tasks, ["b", "a"]);
    assert!(!target.join(".staging").exists());
    let mode = std::fs::metadata(target.join("a/tests/test.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let (again, _) = run(&many, "many.tar.gz");
    assert_eq!((again.copied.len(), again.changed.len()), (0, 0));

    let one = pack("one.tgz", &world.source().join("a"), ".");
    let (prepared, target) = run(&one, "one.tgz");
    assert_eq!(prepared.tasks, ["one"]);
    assert!(target.join("one/task.toml").exists());
}

#[test]
fn two_sources_never_share_a_name() {
    let world = World::new(&["a"]);
    world.prepare();
    let other = world.0.path().join("elsewhere/source");
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    std::fs::rename(world.source(), &other).unwrap();
    // The one that was prepared is gone: it was moved.
    prepare(Provider::Local, &other, "source", &world.target(), &PrepareOptions::default()).unwrap();
    std::fs::create_dir(world.source()).unwrap();
    world.task("a");
    let error = world.error();
    assert!(error.contains("two sources cannot share the name 'source'"), "{error}");
}

#[test]
fn bad_sources_are_named() {
    let world = World::new(&["a"]);
    let run = |provider, source: &Path, dataset: &str| {
        prepare(provider, source, dataset, &world.target(), &PrepareOptions::default())
            .unwrap_err()
            .to_string()
    };
    assert!(run(Provider::HuggingFace, &world.source(), "d").contains("'huggingface' comes later"));
    assert!(run(Provider::Local, &world.0.path().join("nowhere"), "d").contains("is not there"));
    assert!(run(Provider::Local, &world.source(), "..").contains("no name for a folder"));
    let file = world.0.path().join("tasks.txt");
    std::fs::write(&file, "").unwrap();
    assert!(run(Provider::Local, &file, "d").contains("neither a folder nor"));
}
