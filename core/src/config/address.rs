//! One entry of `addresses`: a prefix, a range or a single address.

use std::net::IpAddr;

use ipnetwork::{IpNetwork, ip_mask_to_prefix};

use super::place::At;
use super::problem::{Report, is_invisible, quoted};
use super::tree::{Node, Value};
use crate::address::{AddressRange, Family, canonical, to_number};

const FORMS: &str = "write a range such as `192.168.1.240-192.168.1.250`, a prefix such as \
                     `192.168.1.240/28`, or one address";

/// What is wrong with an entry, and what to write instead.
#[derive(Debug)]
pub(super) struct BadEntry {
    message: String,
    help: String,
}

impl BadEntry {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

/// The range that the text of an entry stands for.
pub(super) fn range(text: &str, at: &dyn At, report: &mut Report<'_>) -> Option<AddressRange> {
    match parse(text) {
        Ok(range) => {
            warn_of_host_bits(text, range, at, report);
            Some(range)
        }
        Err(BadEntry { message, help }) => {
            report.add(at, message, help);
            None
        }
    }
}

/// The range that an entry of a list stands for.
pub(super) fn range_of(node: &Node, report: &mut Report<'_>) -> Option<AddressRange> {
    match &node.value {
        // Null, however it is written, is the empty text.
        Value::Scalar(_) if node.is_null() => range("", &node.span, report),
        Value::Scalar(scalar) => range(&scalar.text, &node.span, report),
        // minikube's template is `- START-END`; with both blank, YAML reads `- -` as a list in
        // the list.
        Value::List(items) if matches!(items.as_slice(), [item] if item.is_null()) => {
            report.add_unfilled(
                &node.span,
                "no addresses yet: start and end of the range are blank",
                "run `minikube addons configure metallb`, or write the range",
            );
            None
        }
        Value::Map(entries) => {
            let help = match entries.first() {
                // `{{ … }}` is a mapping in a mapping to YAML.
                Some((key, _)) if key.scalar().is_none() => {
                    "fill in the template text `{{…}}`, or let its tool do it"
                }
                // `fd00::` ends with a colon, which makes it a key.
                Some((_, value)) if value.is_null() => {
                    "put the address in quotes if it ends with a colon"
                }
                _ => FORMS,
            };
            report.add(
                &node.headline(),
                "an address must be a text, not a mapping",
                help,
            );
            None
        }
        Value::List(_) => {
            report.add(
                &node.headline(),
                "an address must be a text, not a list",
                FORMS,
            );
            None
        }
    }
}

/// `MetalLB` masks them off without a word, and the lowest address is given first: none that the user
/// has written.
fn warn_of_host_bits(text: &str, range: AddressRange, at: &dyn At, report: &mut Report<'_>) {
    let Some((written, prefix)) = text.trim().split_once('/') else {
        return;
    };
    let (first, last) = (range.first(), range.last());
    let written = canonical(written).unwrap_or(first);
    if written == first {
        return;
    }
    let begin = if written == last {
        format!("`{written}`")
    } else {
        format!("`{written}-{last}`")
    };
    report.warn(
        at,
        format!(
            "{} is not on a boundary of its prefix: it means {first} to {last}",
            quoted(text.trim())
        ),
        format!(
            "write `{first}/{}` if that is meant, or {begin} to begin at {written}",
            prefix.trim()
        ),
    );
}

/// Reads an entry as `MetalLB` did: blanks around `-`, host bits of a prefix masked off. A bare
/// address, which it refused, is a range of one.
pub(super) fn parse(text: &str) -> Result<AddressRange, BadEntry> {
    let text = text.trim();
    // Blanks of any kind do no harm around `-` and `/`.
    read(text).map_err(|error| hidden_character(text).unwrap_or(error))
}

/// Nobody finds what cannot be seen.
fn hidden_character(text: &str) -> Option<BadEntry> {
    let hidden = text.chars().find(|c| is_invisible(*c))?;
    let plain: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    Some(BadEntry::new(
        format!(
            "{} has a character that cannot be seen (U+{:04X})",
            quoted(text),
            u32::from(hidden)
        ),
        format!("type it anew: {}", quoted(&plain)),
    ))
}

fn read(text: &str) -> Result<AddressRange, BadEntry> {
    if text.is_empty() {
        return Err(BadEntry::new(
            "an address is blank",
            format!("remove the entry, or {FORMS}"),
        ));
    }
    if let Some(dash) = text
        .find(['–', '—', '−'])
        .and_then(|at| text[at..].chars().next())
    {
        return Err(BadEntry::new(
            format!(
                "{} is written with {dash} (U+{:04X})",
                quoted(text),
                u32::from(dash)
            ),
            format!(
                "write an ordinary hyphen: {}",
                quoted(&text.replace(dash, "-"))
            ),
        ));
    }
    if text.contains(',') {
        let help = "write each on a line of its own, after `- `";
        return Err(BadEntry::new(
            format!("{} is more than one entry", quoted(text)),
            help,
        ));
    }
    match (text.split_once('-'), text.split_once('/')) {
        (Some((first, last)), None) => ends(text, first.trim(), last.trim()),
        (Some((first, last)), Some(_)) => Err(range_with_prefix(text, first, last)),
        (None, Some((address, prefix))) => network(text, address.trim(), prefix.trim()),
        (None, None) => {
            let address = address(text)?;
            Ok(single(address))
        }
    }
}

fn single(address: IpAddr) -> AddressRange {
    AddressRange::new(address, address).expect("an address is not above itself")
}

fn address(text: &str) -> Result<IpAddr, BadEntry> {
    canonical(text).ok_or_else(|| {
        BadEntry::new(
            format!("{} is not an IP address{}", quoted(text), why_not(text)),
            FORMS,
        )
    })
}

/// The commonest slips in an IPv4 address, in words.
fn why_not(text: &str) -> String {
    let parts: Vec<&str> = text.split('.').collect();
    let numbers = || {
        parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if parts.len() < 2 || !numbers() {
        return String::new();
    }
    if parts.len() != 4 {
        return format!(": it has {} numbers instead of 4", parts.len());
    }
    let above = parts.iter().find(|part| part.parse::<u8>().is_err());
    above.map_or_else(String::new, |part| match *part {
        "" => ": a number is missing".to_owned(),
        part => format!(": {} is above 255", quoted(part).trim_matches('`')),
    })
}

fn ends(text: &str, first: &str, last: &str) -> Result<AddressRange, BadEntry> {
    if first.is_empty() || last.is_empty() {
        let (which, there) = if first.is_empty() {
            ("start", last)
        } else {
            ("end", first)
        };
        return Err(BadEntry::new(
            format!("range {} has no {which}", quoted(text)),
            format!("write both ends: `{there}-{there}` for one address"),
        ));
    }
    let first = address(first)?;
    let last = canonical(last).ok_or_else(|| bad_end(text, first, last))?;
    AddressRange::new(first, last).ok_or_else(|| {
        if Family::of(first) == Family::of(last) {
            let message = format!("range {} ends before it starts", quoted(text));
            BadEntry::new(message, format!("write `{last}-{first}`"))
        } else {
            BadEntry::new(
                format!(
                    "range {} starts with {} and ends with {}",
                    quoted(text),
                    Family::of(first),
                    Family::of(last)
                ),
                "write one range for each family",
            )
        }
    })
}

/// `192.168.1.10-20`: the end is short for an address in the same network.
fn bad_end(text: &str, first: IpAddr, last: &str) -> BadEntry {
    let short = last.trim_start_matches('.').parse::<u8>();
    if let (IpAddr::V4(v4), Ok(number)) = (first, short) {
        let [a, b, c, _] = v4.octets();
        return BadEntry::new(
            format!("range {} has a shortened end", quoted(text)),
            format!("write `{first}-{a}.{b}.{c}.{number}`"),
        );
    }
    let message = format!("{} is not an IP address{}", quoted(last), why_not(last));
    BadEntry::new(
        message,
        format!("write the last address of the range after `{first}-`"),
    )
}

fn range_with_prefix(text: &str, first: &str, last: &str) -> BadEntry {
    let bare = |end: &str| end.split('/').next().unwrap_or_default().trim().to_owned();
    BadEntry::new(
        format!("{} is a range and a prefix at once", quoted(text)),
        format!(
            "write `{}-{}`",
            quoted(&bare(first)).trim_matches('`'),
            quoted(&bare(last)).trim_matches('`')
        ),
    )
}

fn network(text: &str, address_text: &str, prefix_text: &str) -> Result<AddressRange, BadEntry> {
    let address = address(address_text)?;
    // `::ffff:10.0.0.0/120` is 10.0.0.0/24.
    let mapped = address.is_ipv4() && address_text.contains(':');
    let (bits, offset) = if address.is_ipv4() {
        (32, if mapped { 96 } else { 0 })
    } else {
        (128, 0)
    };
    let digits = !prefix_text.is_empty() && prefix_text.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = Some(prefix_text)
        .filter(|_| digits)
        .and_then(|text| text.parse::<u8>().ok());
    let network = prefix
        .and_then(|prefix| prefix.checked_sub(offset))
        .and_then(|prefix| IpNetwork::new(address, prefix).ok());
    let Some(network) = network else {
        return Err(bad_prefix(text, address, prefix_text, bits + offset));
    };
    let range = AddressRange::new(network.network(), network.broadcast());
    Ok(range.expect("a network's first address is not above its last"))
}

fn bad_prefix(text: &str, address: IpAddr, prefix: &str, longest: u8) -> BadEntry {
    let mask = canonical(prefix).and_then(|mask| ip_mask_to_prefix(mask).ok());
    match mask {
        Some(length) if prefix.contains(['.', ':']) => BadEntry::new(
            format!("{} has a netmask instead of a prefix length", quoted(text)),
            format!("write `{address}/{length}`"),
        ),
        _ => BadEntry::new(
            format!("{} has no valid prefix length", quoted(text)),
            format!("write a number from 0 to {longest} after the slash"),
        ),
    }
}

/// The length of the shortest prefix that lies wholly in the range.
pub(super) fn shortest_prefix(range: &AddressRange) -> u8 {
    let bits: u8 = if range.family() == Family::V4 {
        32
    } else {
        128
    };
    let (first, last) = (to_number(range.first()), to_number(range.last()));
    (0..bits)
        .find(|length| {
            let host_bits = u32::from(bits - length);
            let hosts = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
            // The lowest multiple of the block's size at or above `first`, if there is one.
            let start = first.checked_add(hosts).map(|end| end & !hosts);
            start
                .and_then(|start| start.checked_add(hosts))
                .is_some_and(|end| end <= last)
        })
        .unwrap_or(bits)
}
