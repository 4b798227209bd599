//! Who announces an address, in text.

use std::io::Write;
use std::time::Duration;

use ferrolb_core::Reason;

use crate::ago;
use crate::answers::explain::announced::{Announcement, Kept};
use crate::terminal::{BAD, GOOD, WARNING, sentence};

/// As many nodes of a line as can be read; programs get all.
const NAMED: usize = 10;

pub(crate) fn text(out: &mut impl Write, announcement: &Announcement) -> anyhow::Result<()> {
    let Announcement { address, nodes, .. } = announcement;
    let style = if announcement.is_fine() { GOOD } else { BAD };
    match &nodes[..] {
        [] => writeln!(out, "{address} is announced by {style}nobody{style:#}.")?,
        [node] => writeln!(out, "{address} is announced by {style}{node}{style:#}.")?,
        several => writeln!(
            out,
            "{address} is announced by {WARNING}{}{WARNING:#}: it is moving right now, or \
             these nodes cannot hear each other.",
            several.join(" and ")
        )?,
    }
    if let Some(drawback) = &announcement.drawback {
        writeln!(out, "  no better node is available: {drawback}")?;
    }
    if !announcement.standby_links.is_empty() {
        let reason = Reason::StandbyLink;
        writeln!(
            out,
            "  on {}, not on {}: {reason}: {}",
            named(&announcement.links),
            named(&announcement.standby_links),
            reason.explanation().what
        )?;
    }
    if let Some(kept) = &announcement.kept {
        kept_text(out, kept)?;
    }
    for one in &announcement.others {
        let by = format!("  not by {}: ", named(&one.nodes));
        sentence(out, None, &by, &format!("{}: {}", one.reason, one.what))?;
        // Where one announces, the others need not.
        if nodes.is_empty() {
            sentence(out, None, "    what to do: ", &one.remedy)?;
        }
    }
    Ok(())
}

fn kept_text(out: &mut impl Write, kept: &Kept) -> anyhow::Result<()> {
    let time = |seconds| ago::short(Duration::from_secs(seconds));
    let packets = match kept.packets {
        0 => "none of them has sent anything since".to_owned(),
        1 => format!("1 packet so far, {} ago", time(kept.idle_seconds)),
        many => format!(
            "{many} packets so far, the last {} ago",
            time(kept.idle_seconds)
        ),
    };
    let what = format!(
        "open connections from before the move go on through {} for up to {} more, as long as it runs \
         ({packets})",
        kept.from,
        time(kept.seconds_left),
    );
    sentence(out, None, "  ", &what)?;
    Ok(())
}

fn named(nodes: &[String]) -> String {
    let some = nodes[..nodes.len().min(NAMED)].join(", ");
    match nodes.len().saturating_sub(NAMED) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::answers::explain::announced;
    use crate::fixtures::{ANNOUNCED, passing_on, printed, said};
    use crate::speaker::Said;

    fn answer(said: &Said) -> Announcement {
        let mut all = announced::of(&[ANNOUNCED.parse().unwrap()], said);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn shown(said: &Said) -> String {
        printed(|out| text(out, &answer(said)))
    }

    #[test]
    fn the_node_that_announces_is_named_and_why_the_others_do_not() {
        let mut nodes = said(&[
            ("n1", Some("not_owner")),
            ("n2", None),
            ("n3", Some("no_local_endpoint")),
            ("n4", Some("not_owner")),
            ("n5", Some("brand_new")),
        ]);
        nodes.push(("n6".to_owned(), Err(anyhow!("no answer within 10 s"))));
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by n2.
          not by n1, n4: not_owner: another node announces the address
          not by n3: no_local_endpoint: with externalTrafficPolicy: Local only nodes with a ready pod announce, and this node has none
          not by n5: brand_new: reported by a newer speaker; this plugin does not know the word
          not by n6: speaker_silent: no answer within 10 s
        ");
    }

    #[test]
    fn where_nobody_announces_it_is_said_what_to_do() {
        let nodes = said(&[("n1", Some("no_endpoint")), ("n2", Some("no_endpoint"))]);
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by nobody.
          not by n1, n2: no_endpoint: no pod of the Service is ready anywhere, so nobody announces its address
            what to do: compare spec.selector with the labels of the pods, and check why they are not ready
        ");
        assert!(!answer(&nodes).is_fine());
    }

    #[test]
    fn a_node_that_announces_for_want_of_a_better_one_says_why_it_is_none() {
        let mut nodes = said(&[("n1", None), ("n2", Some("strictly_excluded_node"))]);
        if let Ok(status) = &mut nodes[0].1 {
            status.vips[0].drawback = Some("excluded_node".into());
        }
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by n1.
          no better node is available: excluded_node
          not by n2: strictly_excluded_node: the node has the label node.kubernetes.io/exclude-from-external-load-balancers, and the speakers treat it strictly
        ");
    }

    #[test]
    fn of_two_links_into_one_subnet_the_one_that_announces_is_named() {
        let mut nodes = said(&[("n1", None), ("n2", Some("not_owner"))]);
        if let Ok(status) = &mut nodes[0].1 {
            status.vips[0].links = vec!["eth0".to_owned()];
            status.vips[0].standby_links = vec!["wlan0".to_owned()];
        }
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by n1.
          on eth0, not on wlan0: standby_link: another network interface of the node is in the same subnet and announces the address
          not by n2: not_owner: another node announces the address
        ");
    }

    #[test]
    fn connections_that_go_on_through_the_old_node_are_told_with_their_time() {
        for packets in [0, 1, 1_234] {
            let mut nodes = said(&[("n1", Some("not_owner")), ("n2", None)]);
            nodes[1].1.as_mut().unwrap().keeping = Some(passing_on(&[(ANNOUNCED, "n1", packets)]));
            insta::allow_duplicates! {
                let shown = shown(&nodes);
                let kept = shown.lines().nth(1).unwrap();
                let (what, how_many) = kept.rsplit_once(" (").unwrap();
                insta::assert_snapshot!(what, @"  open connections from before the move go on through n1 for up to 9m more, as long as it runs");
                assert_eq!(how_many, match packets {
                    0 => "none of them has sent anything since)",
                    1 => "1 packet so far, 7s ago)",
                    _ => "1234 packets so far, the last 7s ago)",
                });
            }
        }
        // Of another address nothing is said here.
        let mut nodes = said(&[("n1", Some("not_owner")), ("n2", None)]);
        nodes[1].1.as_mut().unwrap().keeping = Some(passing_on(&[("192.168.64.9", "n1", 1)]));
        assert!(!shown(&nodes).contains("open connections"));
    }

    #[test]
    fn two_that_announce_at_once_are_both_named() {
        let nodes = said(&[("n1", None), ("n2", None)]);
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by n1 and n2: it is moving right now, or these nodes cannot hear each other.
        ");
    }

    #[test]
    fn of_many_nodes_some_are_named() {
        let names: Vec<_> = (1..=14).map(|number| format!("n{number}")).collect();
        let nodes: Vec<_> = names
            .iter()
            .map(|name| (&**name, Some("not_owner")))
            .collect();
        let shown = shown(&said(&nodes));
        assert!(
            shown.contains("not by n1, n2, n3, n4, n5, n6, n7, n8, n9, n10 and 4 more:"),
            "{shown}"
        );
    }
}
