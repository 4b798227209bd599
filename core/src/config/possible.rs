//! Entries of `addresses` that name what no host can have, or what is seldom meant.

use super::place::At;
use super::problem::{Report, quoted};
use crate::address::AddressRange;
use crate::address::host::{Block, impossible_in, possible_in, unusual_in};

/// What hosts can have of an entry, as ranges. The rest is reported, and left out.
pub(super) fn possible(
    range: AddressRange,
    text: &str,
    at: &dyn At,
    report: &mut Report<'_>,
) -> Vec<AddressRange> {
    let parts = possible_in(range);
    let gaps: Vec<_> = impossible_in(range).collect();
    if parts.is_empty() {
        let what: Vec<_> = gaps.iter().map(|gap| gap.what).collect();
        report.leave_out(
            at,
            format!(
                "{} holds only what no host can have: {}",
                quoted(text),
                what.join(" and ")
            ),
            "write addresses of your network, such as `192.168.1.240-192.168.1.250`",
        );
    } else if !gaps.is_empty() {
        let gaps: Vec<_> = gaps
            .iter()
            .map(|Block { range, what }| format!("{range}, {what}"))
            .collect();
        let parts: Vec<_> = parts.iter().map(|part| format!("`{part}`")).collect();
        let help = match parts.as_slice() {
            [one] => format!("write {one}"),
            more => format!("write {}, each on a line of its own", more.join(" and ")),
        };
        let message = format!(
            "{} holds addresses that no host can have: {}",
            quoted(text),
            gaps.join("; ")
        );
        report.leave_out(at, message, help);
    }
    for Block { range, what } in unusual_in(range) {
        report.warn(
            at,
            format!("{} holds {range}: {what}", quoted(text)),
            "write addresses of your network if that is not meant",
        );
    }
    parts
}
