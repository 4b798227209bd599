//! When a woken thread has its turn.

use std::io;
use std::mem::size_of;

/// `struct sched_attr` in its first version (sched_setattr(2)).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// The shortest slice that the kernel gives, in nanoseconds.
const SHORTEST: u64 = 100_000;

/// Asks for short turns of the calling thread, and soon: since Linux 6.12 whoever asks for a short slice
/// is preferred when it is woken (EEVDF), without a share more of the processor and without a
/// capability. Older kernels take no notice.
pub fn prefer_soon_to_long() -> io::Result<()> {
    let mut attributes = Attributes::default();
    let size = size_of::<Attributes>();
    // SAFETY: the call writes `size` bytes at most into a structure of that size.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            0,
            &raw mut attributes,
            size as libc::c_uint,
            0,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    attributes.size = size as u32;
    attributes.runtime = SHORTEST;
    // SAFETY: the call reads a structure that says its size.
    let failed = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
