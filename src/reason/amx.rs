//! The CPU's matrix unit (AMX) is not for llama.cpp here. It packs matrices for the unit at loading and cannot use
//! those of latent attention at the first token, where it ends the process; and built by GCC 12, with or without
//! optimization, its kernels meet tiles that are not set up (an illegal instruction): that compiler takes the tile
//! configuration for eight bytes and may leave out the rest. Without the unit it takes the vector kernels.

/// `arch_prctl(ARCH_REQ_XCOMP_PERM, …)`: a process asks the kernel for the unit before it uses it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const SYS_ARCH_PRCTL: i64 = 158;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const EPERM: u32 = 1;

/// From here on the kernel says no to this thread, and to those that it starts, when they ask for the unit.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) fn refuse() -> Result<(), seccompiler::Error> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch,
    };
    let asks = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, ARCH_REQ_XCOMP_PERM)?;
    let rule = SeccompRule::new(vec![asks])?;
    let filter = SeccompFilter::new(
        [(SYS_ARCH_PRCTL, vec![rule])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(EPERM),
        TargetArch::x86_64,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}

/// Other machines have none.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) fn refuse() -> Result<(), std::convert::Infallible> {
    Ok(())
}
