//! The capture file format of libpcap, with nanoseconds.

use std::io::{self, Write};
use std::time::SystemTime;

use super::frame::Frame;

/// Tells readers the byte order, and that fractions count nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const LONGEST_FRAME: u32 = 65_535;
const LINK_TYPE_ETHERNET: u32 = 1;

pub(super) fn write(mut file: impl Write, frames: &[Frame]) -> io::Result<()> {
    file.write_all(&MAGIC.to_ne_bytes())?;
    for number in VERSION {
        file.write_all(&number.to_ne_bytes())?;
    }
    // Offset from UTC and accuracy of the times: both always 0.
    for number in [0, 0, LONGEST_FRAME, LINK_TYPE_ETHERNET] {
        file.write_all(&number.to_ne_bytes())?;
    }
    for frame in frames {
        let since = frame
            .wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let length = frame.bytes.len() as u32;
        // 32 bits of seconds are what the format has.
        for number in [since.as_secs() as u32, since.subsec_nanos(), length, length] {
            file.write_all(&number.to_ne_bytes())?;
        }
        file.write_all(&frame.bytes)?;
    }
    file.flush()
}
