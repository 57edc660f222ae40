//! What the helper's processes do on signals.

/// The signals that ask a process to end or stop, and that whoever started trajgen may have had ignored
/// (`nohup`, a job put into the background by a script). Ignoring is inherited through every exec.
const USUAL: [libc::c_int; 8] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCHLD,
];

/// Gives them their usual meaning back; without that no program inside could be interrupted.
pub fn use_defaults() {
    for signal in USUAL {
        #[expect(unsafe_code, reason = "dispositions have no safe setter")]
        // SAFETY: only the default is set, which installs no code; the signal numbers are the system's own.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}
