//! Any bytes, as a frame and as what a raw ICMP socket receives.

use ferrolb_core::wire::{MacAddr, Message, icmp};

const OURS: MacAddr = MacAddr(2, 0, 0, 0, 0, 0x0b);

/// Nothing panics, and the answer to what can be read can be read, and speaks for what was asked.
pub(crate) fn run(bytes: &[u8]) {
    let _ = icmp::parse_v4(bytes);
    let _ = icmp::parse_v6(bytes);
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    let _ = (message.claimed(), message.sender(), message.is_to_many());
    let _ = (message.sender_hardware(), message.is_kernels_answer());
    let Some(asked) = message.asked() else {
        return;
    };
    let reply = message.reply(OURS);
    let answer = Message::parse(reply.as_bytes());
    // A question that gives a group as its source cannot be answered by rule.
    if let Ok(answer) = answer {
        assert_eq!(answer.claimed().unwrap_or(asked), asked);
        assert_eq!(answer.sender_hardware(), OURS);
        assert_eq!(answer.asked(), None);
    } else {
        assert!(message.sender().is_multicast(), "{message:?}: {answer:?}");
    }
}
