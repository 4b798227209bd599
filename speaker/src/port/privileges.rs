//! `CAP_NET_RAW` and nothing else.

use std::io;

use anyhow::{Context as _, bail};

/// `CAP_NET_RAW` (linux/capability.h): packet sockets.
const NET_RAW: u32 = 13;
/// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Checks that packet sockets may be opened, and gives up every other capability for good. To be
/// called before the first thread starts: capabilities belong to threads.
pub fn keep_net_raw_only() -> anyhow::Result<()> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut sets = [Sets::default(); 2];
    // SAFETY: a version 3 header takes exactly two sets; the call writes within them.
    let failed = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    succeeded(failed).context("cannot read the capabilities of this process (capget)")?;
    let net_raw = 1 << NET_RAW;
    if sets[0].permitted & net_raw == 0 {
        bail!(
            "CAP_NET_RAW is missing: ARP needs packet sockets; run the container as uid 0 with \
             securityContext.capabilities.add [NET_RAW]"
        );
    }
    // SAFETY: PR_SET_NO_NEW_PRIVS takes integers alone.
    let failed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) };
    succeeded(failed.into()).context("cannot set no_new_privs (prctl)")?;
    sets = [
        Sets {
            effective: net_raw,
            permitted: net_raw,
            inheritable: 0,
        },
        Sets::default(),
    ];
    // SAFETY: as above; the call reads only.
    let failed = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    succeeded(failed).context("cannot drop the other capabilities (capset)")
}

fn succeeded(result: libc::c_long) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
