//! What a speaker answers on `/survey`: its links, and which addresses of a range are taken on its LAN. One
//! form for both sides. Keys are an interface, they stay.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::address::{AddressRange, successor};

/// As many addresses as are asked for with one request: at 50 questions a second, each three times, that is
/// answered within 6 s.
pub const MOST_ASKED: u128 = 64;

/// `/survey`, or `/survey?range=FIRST-LAST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SurveyStatus {
    /// The links with carrier that addresses may be announced on.
    pub links: Vec<LinkStatus>,
    /// The default gateways.
    pub gateways: Vec<IpAddr>,
    /// The link that was asked on; null if nothing was asked.
    pub asked_on: Option<String>,
    /// Those of the range that somebody says to have. Nobody hears the answers of this very host.
    pub taken: Vec<TakenStatus>,
}

/// A link of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// The node's addresses on it with their prefixes: `192.168.64.11/24`.
    pub prefixes: Vec<String>,
}

/// An address that somebody has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenStatus {
    /// The address.
    pub address: IpAddr,
    /// The hardware address of one who says so.
    pub mac: String,
}

/// The range of `range=FIRST-LAST`, or of one address.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn range_of(query: &str) -> Result<AddressRange, String> {
    let how = format!("/survey?range=FIRST-LAST, of at most {MOST_ASKED} addresses");
    let text = query.strip_prefix("range=").ok_or_else(|| how.clone())?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => AddressRange::new(first, last),
        _ => None,
    };
    range.filter(|range| range.size() <= MOST_ASKED).ok_or(how)
}

/// Its addresses, ascending.
pub fn addresses(range: AddressRange) -> impl Iterator<Item = IpAddr> {
    std::iter::successors(Some(range.first()), move |address| {
        successor(*address).filter(|next| range.contains(*next))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_within_its_bounds_and_nothing_else() {
        let of = |query| range_of(query).map(|range| range.to_string());
        assert_eq!(
            of("range=10.0.0.1-10.0.0.64").unwrap(),
            "10.0.0.1-10.0.0.64"
        );
        assert_eq!(of("range=fd00::1").unwrap(), "fd00::1");
        for wrong in [
            "",
            "range=",
            "range=10.0.0.1-10.0.0.65",
            "range=10.0.0.9-10.0.0.1",
            "range=10.0.0.1-fd00::1",
            "range=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "range=10.0.0.0/24",
            "address=10.0.0.1",
        ] {
            let error = range_of(wrong).unwrap_err();
            assert!(
                error.starts_with("/survey?range=FIRST-LAST"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn the_addresses_of_a_range_end_with_its_last_one() {
        let range = range_of("range=255.255.255.254-255.255.255.255").unwrap();
        assert_eq!(addresses(range).count(), 2);
        let range = range_of("range=10.0.0.255-10.0.1.0").unwrap();
        let all: Vec<_> = addresses(range).map(|one| one.to_string()).collect();
        assert_eq!(all, ["10.0.0.255", "10.0.1.0"]);
    }
}
