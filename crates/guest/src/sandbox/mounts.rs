//! The room's view of files.
//!
//! Everything that comes from the host is opened or made first, as detached mounts; then the root is changed; then
//! they are placed. So no path of an image, however it is linked, is ever followed outside.

use super::{Layer, Room, SandboxError, Upper};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::Path;

const PLAIN: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
const DATA: MountAttrFlags = PLAIN.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// The name of the private folder's layer.
const PRIVATE: &str = "private";

/// The device nodes that every program may expect.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What of `/proc` shows or changes the whole machine: hidden, or read-only.
const HIDDEN: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What is left to be used later.
pub(super) struct View {
    /// The host's socket of the room, if it has one.
    pub(super) socket: Option<OwnedFd>,
    /// An empty folder of its own file system, not placed anywhere.
    pub(super) private: OwnedFd,
}

/// Builds the view and moves this process into it.
pub(super) fn build(room: &Room) -> Result<View, SandboxError> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(SandboxError::at("cannot part from the host's mounts"))?;
    std::env::set_current_dir(&room.base).map_err(SandboxError::at("cannot enter the cache folder"))?;
    let storage = format!("{}/s", room.scratch);
    place_upper(&room.upper, &storage)?;

    let mut overlays = Vec::new();
    for layer in &room.layers {
        overlays.push((layer.target.as_str(), overlay(layer, &storage, room.user)?));
    }
    let private = private_folder(&storage, room.user)?;
    let proc = new_mount("proc", &[], DATA)?;
    // A user namespace may only mount it with a network of its own; programs do without.
    let sys = new_mount("sysfs", &[], DATA | MountAttrFlags::MOUNT_ATTR_RDONLY);
    let mut devices = Vec::new();
    for name in DEVICES {
        devices.push((format!("/dev/{name}"), clone(&format!("/dev/{name}"))?));
    }
    let mut binds = Vec::new();
    for bind in &room.binds {
        binds.push((bind.target.as_str(), clone(&bind.source)?));
    }

    let socket = room.socket.as_deref().map(find).transpose()?;

    enter(&overlays, &format!("{}/m", room.scratch))?;
    for (target, mount) in overlays.iter().filter(|(target, _)| *target != "/") {
        attach(mount, target)?;
    }
    folder("/proc", 0o555)?;
    attach(&proc, "/proc")?;
    folder("/sys", 0o555)?;
    attach(&sys.or_else(|_| empty())?, "/sys")?;
    build_dev(&devices, room.many_ids)?;
    hide()?;
    for (target, mount) in &binds {
        show(mount, target)?;
    }
    for (path, mode) in &room.folders {
        task_folder(path, *mode)?;
    }
    Ok(View { socket, private })
}

/// It counts as what is written elsewhere does, and its name tells nothing of the host.
fn private_folder(storage: &str, user: bool) -> Result<OwnedFd, SandboxError> {
    let (upper, lower) = (format!("{storage}/u/{PRIVATE}"), format!("{storage}/e"));
    for (path, mode) in [(&upper, 0o777), (&lower, 0o755)] {
        let doing = "cannot make a folder for the tests' results";
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(SandboxError::at(doing))?;
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(SandboxError::at(doing))?;
    }
    let layer = Layer { target: super::PRIVATE_PLACE.into(), name: PRIVATE.into(), lower: vec![lower] };
    overlay(&layer, storage, user)
}

/// Places a mount that was not placed yet, in this thread's own view.
pub(super) fn place(mount: &OwnedFd, target: &str) -> Result<(), SandboxError> {
    attach(mount, target)
}

/// Remembers a file without opening it: to be mounted its place on the host would be seen in the list of mounts.
fn find(path: &str) -> Result<OwnedFd, SandboxError> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(SandboxError::at(format!("cannot find {path}")))
}

fn place_upper(upper: &Upper, storage: &str) -> Result<(), SandboxError> {
    match upper {
        Upper::Folder => Ok(()),
        Upper::Tmpfs(size) => {
            let size = size.map(|size| size.to_string());
            let mut options = vec![("mode", "0700")];
            options.extend(size.as_deref().map(|size| ("size", size)));
            attach(&new_mount("tmpfs", &options, PLAIN)?, storage)
        }
        Upper::Device(device) => attach(&new_mount("ext4", &[("source", device)], PLAIN)?, storage),
    }
}

fn overlay(layer: &Layer, storage: &str, user: bool) -> Result<OwnedFd, SandboxError> {
    let (upper, work) = (format!("{storage}/u/{}", layer.name), format!("{storage}/w/{}", layer.name));
    for path in [&upper, &work] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(SandboxError::at("cannot make a folder for a writable layer"))?;
    }
    let lower = layer.lower.join(":");
    let mut options =
        vec![("lowerdir", lower.as_str()), ("upperdir", upper.as_str()), ("workdir", work.as_str())];
    options.push(("index", "off"));
    if user {
        // Switches the other two off as well, and does not want them named.
        options.push(("userxattr", ""));
    } else {
        options.extend([("redirect_dir", "off"), ("metacopy", "off")]);
    }
    // Nothing written here must survive the machine: the end need not wait for the disk.
    options.push(("volatile", ""));
    new_mount("overlay", &options, PLAIN).map_err(|error| {
        SandboxError::at(format!("cannot lay a writable layer over {}", layer.target))(io::Error::other(
            error,
        ))
    })
}

/// A mount of a new file system, not yet placed. An option with an empty value is a flag.
fn new_mount(kind: &str, options: &[(&str, &str)], flags: MountAttrFlags) -> Result<OwnedFd, SandboxError> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(SandboxError::at(format!("cannot use the file system {kind}")))?;
    let configured = options
        .iter()
        .try_for_each(|(name, value)| match *value {
            "" => rustix::mount::fsconfig_set_flag(&context, *name),
            value => rustix::mount::fsconfig_set_string(&context, *name, value),
        })
        .and_then(|()| rustix::mount::fsconfig_create(&context));
    if let Err(error) = configured {
        let why = complaints(&context);
        return Err(SandboxError::at(format!("cannot mount {kind}{why}"))(error));
    }
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .map_err(SandboxError::at(format!("cannot mount {kind}")))
}

/// What the kernel says about a mount that failed: its messages can be read from the context.
fn complaints(context: &OwnedFd) -> String {
    let mut text = String::new();
    let mut buffer = [0u8; 1024];
    while let Ok(count) = rustix::io::read(context, &mut buffer) {
        text.push_str("; ");
        text.push_str(String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).trim());
    }
    text
}

/// A copy of the mount at `path`, not yet placed.
fn clone(path: &str) -> Result<OwnedFd, SandboxError> {
    rustix::mount::open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .map_err(SandboxError::at(format!("cannot show {path}")))
}

fn attach(mount: impl AsFd, target: &str) -> Result<(), SandboxError> {
    rustix::mount::move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(SandboxError::at(format!("cannot mount {target}")))
}

/// Makes the overlay of `/` the root, and lets go of the host's.
fn enter(overlays: &[(&str, OwnedFd)], place: &str) -> Result<(), SandboxError> {
    for (_, root) in overlays.iter().filter(|(target, _)| *target == "/") {
        attach(root, place)?;
    }
    let doing = "cannot change the root";
    std::env::set_current_dir(place).map_err(SandboxError::at(doing))?;
    rustix::process::pivot_root(".", ".").map_err(SandboxError::at(doing))?;
    // The old root now lies on the new one.
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .map_err(SandboxError::at("cannot let go of the host's root"))?;
    std::env::set_current_dir("/").map_err(SandboxError::at(doing))
}

fn build_dev(devices: &[(String, OwnedFd)], many_ids: bool) -> Result<(), SandboxError> {
    folder("/dev", 0o755)?;
    // Without device nodes of its own: those below are mounts of the host's, one by one.
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    attach(&new_mount("tmpfs", &[("mode", "755"), ("size", "64k")], flags)?, "/dev")?;
    for (path, mount) in devices {
        fs::write(path, []).map_err(SandboxError::at(format!("cannot make {path}")))?;
        attach(mount, path)?;
        // They are the host's: nobody inside may change their modes or owners. Reading and writing is no change.
        read_only(path)?;
    }
    for name in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        folder(name, 0o755)?;
    }
    let mut options = vec![("ptmxmode", "666"), ("mode", "620")];
    if many_ids {
        // The group tty.
        options.push(("gid", "5"));
    }
    let terminals = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    attach(&new_mount("devpts", &options, terminals)?, "/dev/pts")?;
    attach(&new_mount("tmpfs", &[("mode", "1777"), ("size", "64m")], DATA)?, "/dev/shm")?;
    attach(&new_mount("mqueue", &[], DATA)?, "/dev/mqueue")?;
    for (name, target) in [
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, name).map_err(SandboxError::at(format!("cannot make {name}")))?;
    }
    Ok(())
}

/// An empty folder that nobody can write.
fn empty() -> Result<OwnedFd, SandboxError> {
    new_mount("tmpfs", &[("size", "4k")], DATA | MountAttrFlags::MOUNT_ATTR_RDONLY)
}

fn hide() -> Result<(), SandboxError> {
    for path in HIDDEN {
        let Ok(found) = fs::symlink_metadata(path) else { continue };
        if found.is_dir() {
            attach(&empty()?, path)?;
        } else {
            attach(&clone("/dev/null")?, path)?;
        }
    }
    for path in READ_ONLY {
        if fs::symlink_metadata(path).is_ok() {
            attach(&clone(path)?, path)?;
            read_only(path)?;
        }
    }
    Ok(())
}

/// Shows something of the host, read-only.
fn show(mount: &OwnedFd, target: &str) -> Result<(), SandboxError> {
    let path = Path::new(target);
    let doing = format!("cannot make the place of {target}");
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755);
    let is_folder = rustix::fs::fstat(mount)
        .map(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir())
        .map_err(SandboxError::at(doing.clone()))?;
    if is_folder {
        builder.create(path).map_err(SandboxError::at(doing))?;
    } else {
        if let Some(parent) = path.parent() {
            builder.create(parent).map_err(SandboxError::at(doing.clone()))?;
        }
        if fs::symlink_metadata(path).is_err() {
            fs::write(path, []).map_err(SandboxError::at(doing))?;
        }
    }
    attach(mount, target)?;
    read_only(target)
}

/// Makes the mount at `path` read-only, without set-user-id programs, and unless it is a device itself without
/// devices. What was off before stays off: in a user namespace it must.
fn read_only(path: &str) -> Result<(), SandboxError> {
    let doing = || format!("cannot make {path} read-only");
    let now = rustix::fs::statvfs(path).map_err(SandboxError::at(doing()))?.f_flag;
    let device = fs::metadata(path).map_err(SandboxError::at(doing()))?.file_type().is_char_device();
    let mut flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
    if !device || now.contains(StatVfsMountFlags::NODEV) {
        flags |= MountFlags::NODEV;
    }
    if now.contains(StatVfsMountFlags::NOEXEC) {
        flags |= MountFlags::NOEXEC;
    }
    rustix::mount::mount_remount(path, flags, c"").map_err(SandboxError::at(doing()))
}

/// Makes sure of a mount point; one that an image replaced is an error, not followed.
fn folder(path: &str, mode: u32) -> Result<(), SandboxError> {
    let doing = format!("cannot make {path}");
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(SandboxError::at(doing)(io::Error::from(io::ErrorKind::NotADirectory))),
        Err(_) => DirBuilder::new().mode(mode).create(path).map_err(SandboxError::at(doing)),
    }
}

/// A folder of the task with exactly this mode.
fn task_folder(path: &str, mode: u32) -> Result<(), SandboxError> {
    let doing = format!("cannot make the folder {path}");
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) && mode == 0o755 {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(SandboxError::at(doing.clone()))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(SandboxError::at(doing))
}
