//! What of the host is seen inside: an allow-list, copied or layered, never the host's own folders to write.

use super::toolchain::Toolchain;
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use trajgen_guest::sandbox::Layer;

/// Changes whenever what this module makes does.
const FORMAT: &str = "2";

/// Files and folders of `/etc` that programs need. Whatever is not named stays out.
const ETC: &[&str] = &[
    "adduser.conf",
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "bindresvport.blacklist",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "default/locale",
    "default/useradd",
    "deluser.conf",
    "ethertypes",
    "fonts",
    "gai.conf",
    "group",
    "groff",
    "host.conf",
    "inputrc",
    "issue",
    "java",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "locale.gen",
    "localtime",
    "login.defs",
    "lsb-release",
    "magic",
    "magic.mime",
    "manpath.config",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "pam.conf",
    "pam.d",
    "passwd",
    "perl",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
    "profile",
    "protocols",
    "python",
    "python3",
    "resolv.conf",
    "rpc",
    "security",
    "services",
    "shells",
    "skel",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "ucf.conf",
    "vim",
    "xattr.conf",
    "xml",
    "sgml",
];

/// Folders of `/etc` whose names carry a version.
const ETC_PREFIXES: &[&str] = &["java-", "python3."];

/// What apt needs to install packages, without what it logs in with.
const ETC_APT: &[&str] = &["apt/sources.list", "apt/sources.list.d", "apt/trusted.gpg.d"];

/// Folders of the new root and their modes.
const FOLDERS: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/backups", 0o755),
    ("var/cache", 0o755),
    ("var/cache/apt", 0o755),
    ("var/cache/apt/archives", 0o755),
    ("var/cache/apt/archives/partial", 0o700),
    ("var/lib", 0o755),
    ("var/lib/apt", 0o755),
    ("var/lib/apt/lists", 0o755),
    ("var/lib/apt/lists/partial", 0o700),
    ("var/lib/dpkg", 0o755),
    ("var/local", 0o2775),
    ("var/log", 0o755),
    ("var/log/apt", 0o755),
    ("var/mail", 0o2775),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("etc/profile.d", 0o755),
];

const HOSTS: &str = "\
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
127.0.1.1 sandbox
";

/// Top-level folders that are links into `/usr` on current systems, folders of their own on older ones.
const TOP: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// The host's userland as sandboxes see it.
#[derive(Debug, Clone)]
pub(super) struct Userland {
    /// The folder of [`Self::base`] within the cache.
    pub(super) base_name: String,
    /// Folders of the host that are layered: `/usr`, `/opt`, …
    pub(super) shared: Vec<String>,
    /// What the host's `PATH` points at beside those.
    pub(super) toolchains: Vec<Toolchain>,
    /// Changes when the host's userland does.
    pub(super) fingerprint: String,
}

impl Userland {
    /// Looks at the host and makes the base folder below `cache`, unless it is there.
    pub(super) fn prepare(cache: &Path, user_namespace: bool) -> io::Result<Self> {
        let toolchains = super::toolchain::find();
        let mut shared: Vec<String> = ["/usr", "/opt"].map(str::to_owned).into();
        for name in TOP {
            let path = Path::new("/").join(name);
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                shared.push(format!("/{name}"));
            }
        }
        if !user_namespace {
            // The package manager's list of what is in /usr.
            shared.push("/var/lib/dpkg".into());
        }
        shared.retain(|path| Path::new(path).is_dir());
        let fingerprint = fingerprint(&toolchains, &shared, user_namespace)?;
        let base_name = format!("base-{fingerprint}");
        let base = cache.join(&base_name);
        if !base.is_dir() {
            let prefix = format!(".base-{}-", super::scratch::Owner::this()?.fresh_name());
            let work = tempfile::Builder::new().prefix(&prefix).tempdir_in(cache)?;
            // The folder is the root that is seen inside.
            fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755))?;
            make(work.path(), &toolchains)?;
            match fs::rename(work.path(), &base) {
                Ok(()) => {}
                // Another one was faster with the same.
                Err(_) if base.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { base_name, shared, toolchains, fingerprint })
    }

    /// The overlays of a sandbox: an image's own layers, if any, over the host's. `folder` is what images and
    /// the base lie in, `image` one of them by name; lower folders are named relative to the cache.
    pub(super) fn layers(&self, cache: &Path, folder: &str, image: Option<&str>) -> Vec<Layer> {
        let base = format!("{folder}/{}", self.base_name);
        let hosts = std::iter::once(("/", base)).chain(self.shared.iter().map(|p| (p.as_str(), p.clone())));
        hosts
            .map(|(target, lower)| {
                let name = layer_name(target);
                let own = image.map(|image| format!("{folder}/{image}/{name}"));
                let own = own.filter(|own| cache.join(own).is_dir());
                Layer { target: target.to_owned(), lower: own.into_iter().chain([lower]).collect(), name }
            })
            .collect()
    }
}

/// `/` → `root`, `/var/lib/dpkg` → `var-lib-dpkg`.
fn layer_name(target: &str) -> String {
    match target.trim_matches('/') {
        "" => "root".to_owned(),
        path => path.replace('/', "-"),
    }
}

/// Times of the folders that installing and removing software touches, not their contents.
fn fingerprint(toolchains: &[Toolchain], shared: &[String], user_namespace: bool) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{FORMAT} {user_namespace} {shared:?} {toolchains:?}\n"));
    let below =
        ["bin", "sbin", "lib", "local", "local/bin", "local/lib", "share"].map(|name| format!("/usr/{name}"));
    let etc = ETC.iter().chain(ETC_APT).map(|name| format!("/etc/{name}"));
    for path in
        shared.iter().cloned().chain(below).chain(["/etc".into(), "/var/lib/dpkg/status".into()]).chain(etc)
    {
        if let Ok(found) = fs::metadata(&path) {
            hash.update(format!("{path} {} {} {}\n", found.mtime(), found.mtime_nsec(), found.size()));
        }
    }
    Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn make(root: &Path, toolchains: &[Toolchain]) -> io::Result<()> {
    let mode_exactly = |path: &Path, mode: u32| {
        DirBuilder::new().recursive(true).mode(0o755).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    for (name, mode) in FOLDERS {
        mode_exactly(&root.join(name), *mode)?;
    }
    // Other users must get through to toolchains that live in it.
    let through = toolchains.iter().any(|t| t.shown.iter().any(|path| path.starts_with("/root")));
    mode_exactly(&root.join("root"), if through { 0o711 } else { 0o700 })?;
    for name in TOP {
        let host = Path::new("/").join(name);
        match fs::symlink_metadata(&host) {
            Ok(found) if found.is_symlink() => symlink(fs::read_link(&host)?, root.join(name))?,
            Ok(found) if found.is_dir() => mode_exactly(&root.join(name), 0o755)?,
            _ => {}
        }
    }
    for (link, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
        symlink(target, root.join(link))?;
    }
    make_etc(&root.join("etc"), toolchains)
}

fn make_etc(etc: &Path, toolchains: &[Toolchain]) -> io::Result<()> {
    let host = Path::new("/etc");
    for name in ETC.iter().chain(ETC_APT) {
        copy_shown(&host.join(name), &etc.join(name), true)?;
    }
    for entry in fs::read_dir(host)?.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| ETC_PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
            copy_shown(&entry.path(), &etc.join(&name), true)?;
        }
    }
    for name in ["apt/preferences.d", "apt/apt.conf.d"] {
        DirBuilder::new().recursive(true).mode(0o755).create(etc.join(name))?;
    }
    // root inside cannot become the user that apt drops to when only few ids are mapped, nor need it.
    fs::write(etc.join("apt/apt.conf.d/00sandbox"), "APT::Sandbox::User \"root\";\n")?;
    fs::write(etc.join("hostname"), "sandbox\n")?;
    // The host's own holds its name.
    fs::write(etc.join("hosts"), HOSTS)?;
    for (from, to) in [("passwd", "shadow"), ("group", "gshadow")] {
        let accounts = fs::read_to_string(etc.join(from)).unwrap_or_default();
        fs::write(etc.join(to), without_passwords(&accounts, to))?;
        fs::set_permissions(etc.join(to), fs::Permissions::from_mode(0o600))?;
    }
    fs::write(etc.join("mtab"), "")?;
    fs::remove_file(etc.join("mtab"))?;
    symlink("/proc/self/mounts", etc.join("mtab"))?;
    // A login shell sets PATH anew.
    let bins: Vec<_> = toolchains.iter().flat_map(|t| t.path.iter().map(String::as_str)).collect();
    if !bins.is_empty() {
        let line = format!("PATH=\"{}:$PATH\"\nexport PATH\n", bins.join(":"));
        fs::write(etc.join("profile.d/toolchains.sh"), line)?;
    }
    Ok(())
}

/// The accounts' passwords, of which nobody has one: programs that make or change accounts need the file.
fn without_passwords(accounts: &str, file: &str) -> String {
    let rest = if file == "shadow" { "*:19000:0:99999:7:::" } else { "*::" };
    let names = accounts.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
    names.map(|name| format!("{name}:{rest}\n")).collect()
}

/// Copies what everybody on the host may read. A link that leads out of what is seen inside is replaced by its
/// target's contents when `follow` says so, else copied as it is.
fn copy_shown(from: &Path, to: &Path, follow: bool) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(from) else { return Ok(()) };
    if let Some(parent) = to.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    if found.is_symlink() {
        let target = fs::read_link(from)?;
        let seen = fs::canonicalize(from).is_ok_and(|end| end.starts_with("/usr") || end.starts_with("/etc"));
        if !seen && follow {
            return fs::metadata(from).map_or(Ok(()), |end| copy_file(from, &end, to));
        }
        return symlink(target, to);
    }
    if !found.is_dir() {
        return copy_file(from, &found, to);
    }
    if found.permissions().mode() & 0o005 != 0o005 {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_shown(&entry.path(), &to.join(entry.file_name()), false)?;
    }
    Ok(())
}

fn copy_file(from: &Path, found: &fs::Metadata, to: &Path) -> io::Result<()> {
    if !found.is_file() || found.permissions().mode() & 0o004 == 0 {
        return Ok(());
    }
    let Ok(bytes) = fs::read(from) else { return Ok(()) };
    if holds_secret(&bytes) {
        return Ok(());
    }
    fs::write(to, bytes)?;
    fs::set_permissions(to, fs::Permissions::from_mode(found.permissions().mode() & 0o755))
}

/// A private key, or a name and password in an address.
fn holds_secret(bytes: &[u8]) -> bool {
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let with_login = |line: &[u8]| {
        let text = String::from_utf8_lossy(line);
        text.split("://")
            .skip(1)
            .any(|rest| rest.split(['/', ' ', '"']).next().is_some_and(|authority| authority.contains('@')))
    };
    has(b"PRIVATE KEY-----") || bytes.split(|byte| *byte == b'\n').any(with_login)
}

/// Where `cache` lies in what sandboxes see, if it does.
pub(super) fn seen_below<'a>(userland: &'a Userland, path: &Path) -> Option<&'a str> {
    let shown = userland.toolchains.iter().flat_map(|t| t.shown.iter().map(PathBuf::as_path));
    let mut all = userland.shared.iter().map(Path::new).chain(shown);
    all.find(|seen| path.starts_with(seen)).and_then(Path::to_str)
}
