//! What process 1 and everything it starts may no longer do: Docker's default capabilities and a list of
//! refused system calls like Docker's default profile.

use super::SandboxError;
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;

/// Reduces the capabilities for good to the set that containers have by default.
///
/// On the host's own network even root inside may neither listen in on it nor take privileged ports.
pub(super) fn drop_capabilities(host_network: bool) -> Result<(), SandboxError> {
    let doing = "cannot give up capabilities";
    let mut keep = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FSETID
        | CapabilitySet::FOWNER
        | CapabilitySet::MKNOD
        | CapabilitySet::NET_RAW
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID
        | CapabilitySet::SETFCAP
        | CapabilitySet::SETPCAP
        | CapabilitySet::NET_BIND_SERVICE
        | CapabilitySet::SYS_CHROOT
        | CapabilitySet::KILL
        | CapabilitySet::AUDIT_WRITE;
    if host_network {
        keep -= CapabilitySet::NET_RAW | CapabilitySet::NET_BIND_SERVICE;
    }
    rustix::thread::clear_ambient_capability_set().map_err(SandboxError::at(doing))?;
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(SandboxError::at(doing)(error)),
        }
    }
    let now = rustix::thread::capabilities(None).map_err(SandboxError::at(doing))?;
    let sets = CapabilitySets {
        effective: now.permitted & keep,
        permitted: now.permitted & keep,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(SandboxError::at(doing))
}

/// Refused whatever their arguments.
const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    // open_tree_attr, younger than the list of names.
    467,
];

/// Those that only the older architecture has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS__sysctl,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_sysfs,
    libc::SYS_uselib,
    libc::SYS_ustat,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// The second numbering of x86-64 reaches the same calls.
#[cfg(target_arch = "x86_64")]
const OTHER_NUMBERING: Option<i64> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const OTHER_NUMBERING: Option<i64> = None;

/// `CLONE_NEW*` of `linux/sched.h`: mount, cgroup, uts, ipc, user, pid, network.
const NEW_NAMESPACE: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];

/// Kernel interfaces that reach beyond a network namespace: `AF_ALG`, `AF_VSOCK`.
const REFUSED_FAMILIES: [u64; 2] = [38, 40];

/// Installs the filters, and with them `no_new_privs`: no program gives its caller more power.
pub(super) fn filter_system_calls() -> Result<(), SandboxError> {
    let doing = "cannot filter system calls";
    let wrong = |error: seccompiler::BackendError| SandboxError::at(doing)(io::Error::other(error));
    for program in programs().map_err(wrong)? {
        seccompiler::apply_filter(&program)
            .map_err(|error| SandboxError::at(doing)(io::Error::other(error.to_string())))?;
    }
    Ok(())
}

fn programs() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_HERE).map(|number| (*number, Vec::new())).collect();
    let mut clone = Vec::new();
    for flag in NEW_NAMESPACE {
        clone.push(SeccompRule::new(vec![SeccompCondition::new(0, Len::Qword, Op::MaskedEq(flag), flag)?])?);
    }
    rules.insert(libc::SYS_clone, clone);
    let mut families = Vec::new();
    for family in REFUSED_FAMILIES {
        families.push(SeccompRule::new(vec![SeccompCondition::new(0, Len::Dword, Op::Eq, family)?])?);
    }
    rules.insert(libc::SYS_socket, families);
    // Its flags lie in memory, where no filter can look. Callers fall back to clone when it does not exist.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([program(rules, libc::EPERM.unsigned_abs())?, program(unknown, libc::ENOSYS.unsigned_abs())?])
}

fn program(
    mut rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: u32,
) -> Result<BpfProgram, seccompiler::BackendError> {
    if let Some(bit) = OTHER_NUMBERING {
        let others: Vec<_> = rules.iter().map(|(number, rule)| (number | bit, rule.clone())).collect();
        rules.extend(others);
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), architecture)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_can_be_made() {
        let programs = programs().unwrap();
        assert!(programs.iter().all(|program| !program.is_empty() && program.len() < 4096));
    }
}
