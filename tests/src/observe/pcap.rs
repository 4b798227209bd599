//! The capture file format of libpcap, with nanoseconds.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use super::frame::Frame;

/// Tells readers the byte order, and that fractions count nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
/// The same with microseconds: tcpdump's own.
const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
/// Bytes before the first frame, and before each one.
const FILE_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;
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

/// The frames of a capture of this machine's byte order, each with its time since 1970.
pub fn read(capture: &[u8]) -> io::Result<Vec<(Duration, &[u8])>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (header, mut rest) = capture
        .split_at_checked(FILE_HEADER)
        .ok_or_else(|| broken("no capture: too short"))?;
    let nanos_per_unit = match number(header, 0) {
        MAGIC => 1,
        MAGIC_MICROS => 1_000,
        _ => return Err(broken("no capture (pcap) of this byte order")),
    };
    if number(header, 20) != LINK_TYPE_ETHERNET {
        return Err(broken("no capture of Ethernet"));
    }
    let mut frames = Vec::new();
    while let Some((header, bytes)) = rest.split_at_checked(FRAME_HEADER) {
        let time = Duration::new(
            number(header, 0).into(),
            number(header, 4).saturating_mul(nanos_per_unit),
        );
        let length = number(header, 8) as usize;
        let (frame, next) = bytes
            .split_at_checked(length)
            .ok_or_else(|| broken("the last frame is not whole"))?;
        frames.push((time, frame));
        rest = next;
    }
    Ok(frames)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_ne_bytes)
}
