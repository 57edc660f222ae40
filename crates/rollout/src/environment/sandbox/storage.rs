//! Where a sandbox's writable layers are kept, and how they are limited.

use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use trajgen_guest::sandbox::Upper;

/// File systems whose folders cannot be the upper layer of an overlay (`linux/magic.h`): overlay, NFS, FAT, FUSE, 9P.
const NO_UPPER: [i64; 5] = [0x794c_7630, 0x6969, 0x4d44, 0x6573_5546, 0x0102_1997];
/// In memory no more than this part of what is free may be promised.
const MEMORY_SHARE: u64 = 4;
/// An ext4 file system smaller than this has no room for itself.
const SMALLEST_IMAGE: u64 = 8 << 20;

/// What this host can do.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// The scratch folder's file system can hold upper layers.
    folder: bool,
    /// Loop devices may be used.
    loops: bool,
}

/// Where one sandbox's layers go.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) upper: Upper,
    /// The kernel stops who writes more; else somebody must watch.
    pub(super) enforced: bool,
    /// Keeps the loop device until the file system is mounted.
    pub(super) device: Option<OwnedFd>,
}

impl Storage {
    /// Looks at the file system of `scratch`.
    pub(super) fn find(scratch: &Path, root: bool) -> io::Result<Self> {
        let kind = rustix::fs::statfs(scratch)?.f_type;
        Ok(Self { folder: !NO_UPPER.contains(&kind), loops: root && Path::new("/dev/loop-control").exists() })
    }

    /// Whether layers outlive their sandbox, so that images can be made of them.
    pub(super) fn keeps_layers(&self) -> bool {
        self.folder
    }

    /// Chooses for a sandbox with the folder `scratch` that may write `limit` bytes.
    pub(super) fn place(&self, scratch: &Path, limit: Option<u64>) -> Placed {
        let placed = |upper, enforced| Placed { upper, enforced, device: None };
        let Some(limit) = limit else {
            return placed(if self.folder { Upper::Folder } else { Upper::Tmpfs(None) }, true);
        };
        // Any step may be forbidden here (no device nodes in a container, say): then the next best will do.
        if self.loops
            && let Ok((device, path)) = image(&scratch.join("disk"), limit.max(SMALLEST_IMAGE))
        {
            return Placed { upper: Upper::Device(path), enforced: true, device: Some(device) };
        }
        if !self.folder || available_memory().is_some_and(|free| limit <= free / MEMORY_SHARE) {
            return placed(Upper::Tmpfs(Some(limit)), true);
        }
        placed(Upper::Folder, false)
    }
}

/// A sparse file with an ext4 file system of `size` bytes, behind a loop device that goes with its last user.
fn image(path: &Path, size: u64) -> io::Result<(OwnedFd, String)> {
    let file = fs::File::options().read(true).write(true).create_new(true).open(path)?;
    file.set_len(size)?;
    // It lives as long as one sandbox: no journal, nothing reserved, tables written when they are needed.
    let made = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal,^resize_inode,uninit_bg"])
        .args(["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"])
        .arg(path)
        .env_clear()
        .env("PATH", super::SYSTEM_PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !made.success() {
        return Err(io::Error::other(format!("mke2fs: {made}")));
    }
    loop_device(&file)
}

fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// `struct loop_config` of `linux/loop.h`, of which only three fields are not zero.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// `lo_device` to `lo_sizelimit`, `lo_number`, `lo_encrypt_type`, `lo_encrypt_key_size` of the info.
    info_head: [u32; 13],
    flags: u32,
    /// The names, the key and `lo_init`, then the reserve.
    rest: [u64; 30],
}

const LOOP_CONFIGURE: u32 = 0x4C0A;
const LOOP_CTL_GET_FREE: u32 = 0x4C82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Between finding a free device and taking it, another may take it.
const LOOP_TRIES: u32 = 64;

fn loop_device(file: &fs::File) -> io::Result<(OwnedFd, String)> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let control = rustix::fs::open("/dev/loop-control", flags, Mode::empty())?;
    let mut last = rustix::io::Errno::BUSY;
    for _ in 0..LOOP_TRIES {
        let path = format!("/dev/loop{}", free_device(&control)?);
        let device = rustix::fs::open(&path, flags, Mode::empty())?;
        let config = LoopConfig {
            fd: file.as_raw_fd().unsigned_abs(),
            block_size: 0,
            info_head: [0; 13],
            flags: LO_FLAGS_AUTOCLEAR,
            rest: [0; 30],
        };
        #[expect(unsafe_code, reason = "loop devices are set up by an ioctl that no library wraps")]
        // SAFETY: the structure is laid out as the kernel's, which only reads it.
        let taken = unsafe {
            rustix::ioctl::ioctl(&device, rustix::ioctl::Setter::<LOOP_CONFIGURE, LoopConfig>::new(config))
        };
        match taken {
            Ok(()) => return Ok((device, path)),
            Err(rustix::io::Errno::BUSY) => last = rustix::io::Errno::BUSY,
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}

/// `LOOP_CTL_GET_FREE`, which answers with its return value.
struct FreeDevice;

#[expect(unsafe_code, reason = "loop devices are found by an ioctl that no library wraps")]
// SAFETY: the request takes no argument and returns a number.
unsafe impl rustix::ioctl::Ioctl for FreeDevice {
    type Output = i32;
    const IS_MUTATING: bool = false;
    fn opcode(&self) -> rustix::ioctl::Opcode {
        LOOP_CTL_GET_FREE
    }
    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }
    unsafe fn output_from_ptr(
        number: rustix::ioctl::IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(number)
    }
}

fn free_device(control: &OwnedFd) -> io::Result<i32> {
    #[expect(unsafe_code, reason = "loop devices are found by an ioctl that no library wraps")]
    // SAFETY: the descriptor is the loop driver's, whose request this is.
    let number = unsafe { rustix::ioctl::ioctl(control, FreeDevice) }?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_kernels_size() {
        assert_eq!(std::mem::size_of::<LoopConfig>(), 8 + 232 + 64);
        assert_eq!(std::mem::offset_of!(LoopConfig, flags), 8 + 5 * 8 + 3 * 4);
    }

    #[test]
    fn without_loop_devices_memory_holds_what_is_small() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage { folder: true, loops: false };
        assert_eq!(storage.place(dir.path(), None).upper, Upper::Folder);
        assert_eq!(storage.place(dir.path(), Some(1 << 20)).upper, Upper::Tmpfs(Some(1 << 20)));
        let big = storage.place(dir.path(), Some(u64::MAX));
        assert_eq!((big.upper, big.enforced), (Upper::Folder, false));
        let nowhere = Storage { folder: false, loops: false };
        assert_eq!(nowhere.place(dir.path(), None).upper, Upper::Tmpfs(None));
    }
}
