//! tcpdump on every host, for what the host itself sends.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use ferrolb_tests::Lab;
use ferrolb_tests::observe::pcap;
use ferrolb_tests::wait::wait_until;

use super::packet::Packet;

/// It writes the head of its file as soon as it captures.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

pub(super) struct Recorder {
    /// Process and file of each host.
    captures: Vec<(String, PathBuf)>,
}

impl Recorder {
    pub(super) fn start<'a>(lab: &Lab, hosts: impl Iterator<Item = &'a String>) -> Result<Self> {
        let mut captures = Vec::new();
        for host in hosts {
            let name = format!("tcpdump-{host}");
            let file = lab.state().subdir("captures")?.join(format!("{host}.pcap"));
            // One of before would look as if this one captured.
            let _ = std::fs::remove_file(&file);
            let path = file.display().to_string();
            let spec = lab.host(host)?.process(&name, "tcpdump");
            // Each frame at once: what the kernel still holds back when it is stopped would be lost.
            let options = ["-i", "eth0", "-Q", "out", "--immediate-mode", "-U"];
            let args = [&options[..], &["-Z", "root", "-w", &path]].concat();
            lab.spawn(spec.args(args))?;
            captures.push((name, file));
        }
        for (name, file) in &captures {
            let captures = || Ok(file.metadata().is_ok_and(|file| file.len() > 0));
            wait_until(STARTS_WITHIN, captures, || lab.check_alive(name))
                .with_context(|| format!("{name} does not capture"))?;
        }
        Ok(Self { captures })
    }

    /// Ends it; all frames in the order of their times.
    pub(super) fn stop(self, lab: &Lab) -> Result<Vec<Packet>> {
        let mut packets = Vec::new();
        for (name, file) in &self.captures {
            lab.stop(name)?;
            let capture = std::fs::read(file).with_context(|| file.display().to_string())?;
            let frames = pcap::read(&capture).with_context(|| file.display().to_string())?;
            packets.extend(
                frames.iter().filter_map(|(time, frame)| {
                    Packet::read(SystemTime::UNIX_EPOCH + *time, frame)
                }),
            );
        }
        packets.sort_by_key(|packet| packet.at);
        Ok(packets)
    }
}
