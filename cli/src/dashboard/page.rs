//! The page, its policy, and a snapshot of it in one file.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::view::View;

pub(super) const PAGE: &str = include_str!("page/index.html");
pub(super) const STYLE: &str = include_str!("page/page.css");
pub(super) const ICON: &str = include_str!("page/icon.svg");
pub(super) const SCRIPT: &str = concat!(
    include_str!("page/base.js"),
    include_str!("page/map.js"),
    include_str!("page/lanes.js"),
    include_str!("page/whatif.js"),
    include_str!("page/page.js"),
);

/// Nothing but what is served here, nothing inline, and text of others can only ever be text: a browser
/// that knows Trusted Types refuses the rest.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                 connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                                 require-trusted-types-for 'script'; trusted-types 'none'";

// What a snapshot has instead.
const ICON_LINK: &str = "<link rel=\"icon\" href=\"icon.svg\">\n";
const STYLE_LINK: &str = "<link rel=\"stylesheet\" href=\"page.css\">";
const SCRIPT_LINK: &str = "<script src=\"page.js\"></script>";
const NO_PICTURE: &str = "<script type=\"application/json\" id=\"picture\">";

/// The page as one file that needs no server: with its style, its script and what is seen now.
pub(crate) fn snapshot(view: &View) -> anyhow::Result<String> {
    let json = serde_json::to_string(view)?;
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        source(SCRIPT),
        source(STYLE)
    );
    let mut rest = PAGE;
    let mut file = String::new();
    for (mark, instead) in [
        (ICON_LINK, String::new()),
        (
            STYLE_LINK,
            format!(
                "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n<style>{STYLE}</style>"
            ),
        ),
        (NO_PICTURE, format!("{NO_PICTURE}{}", within_html(&json))),
        (SCRIPT_LINK, format!("<script>{SCRIPT}</script>")),
    ] {
        let (before, behind) = rest
            .split_once(mark)
            .with_context(|| format!("the page has no {mark}"))?;
        file.push_str(before);
        file.push_str(&instead);
        rest = behind;
    }
    file.push_str(rest);
    Ok(file)
}

/// JSON that ends no element and begins none, whatever is in it.
fn within_html(json: &str) -> String {
    // Outside of strings, JSON has none of these.
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// As a policy names what is inline (CSP level 3, section 2.3.1).
fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{controller, said};
    use crate::picture::tests::{heard_of, now, speakers_on};
    use crate::picture::{Happening, Picture};

    /// Bytes of all that is served, at most.
    const LARGEST: usize = 100 * 1024;

    #[test]
    fn the_page_is_small_and_none_of_it_comes_from_elsewhere() {
        let all = [PAGE, STYLE, SCRIPT, ICON];
        let size: usize = all.iter().map(|part| part.len()).sum();
        assert!(size <= LARGEST, "{size} bytes");
        for part in all {
            let foreign = part.replace("http://www.w3.org/2000/svg", "");
            for word in ["http://", "https://", "@import", "url("] {
                assert!(!foreign.contains(word), "{word}");
            }
        }
    }

    #[test]
    fn text_is_only_ever_set_as_text_and_nothing_is_inline() {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "srcdoc",
            "createContextualFragment",
            "DOMParser",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
        for inline in [" style=", " onclick=", " onload=", "javascript:", "<style"] {
            assert!(!PAGE.contains(inline), "{inline}");
        }
        assert_eq!(PAGE.matches("<script").count(), 2);
    }

    fn hostile() -> String {
        let mut heard = heard_of(
            speakers_on(&["n1", "n2"]),
            Ok(controller()),
            said(&[("n1", None), ("n2", Some("not_owner"))]),
        );
        let text = "</script><script>alert(1)</script><!--<script>\u{2028}&lt;";
        heard.events = Ok(vec![Happening {
            time: Some(now()),
            first: None,
            kind: "Service".to_owned(),
            namespace: "shop".to_owned(),
            name: text.to_owned(),
            r#type: "Normal".to_owned(),
            reason: text.to_owned(),
            message: text.to_owned(),
            node: None,
            version: 1,
        }]);
        snapshot(&View::of(&Picture::of(heard, now()))).unwrap()
    }

    #[test]
    fn whatever_is_in_a_snapshot_ends_no_element_and_is_still_the_same() {
        let file = hostile();
        assert_eq!(
            file.matches("<script").count(),
            2,
            "the data and the script"
        );
        assert_eq!(file.matches("</script").count(), 2);
        assert!(!file.contains("<!--") && !file.contains("alert(1)</"));
        let (_, data) = file.split_once(NO_PICTURE).unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let message = data["events"][0]["message"].as_str().unwrap();
        assert!(
            message.starts_with("</script><script>alert(1)"),
            "{message}"
        );
        assert_eq!(data["status"]["nodes"][0]["name"], "n1");
    }

    #[test]
    fn a_snapshot_runs_its_own_script_and_loads_nothing() {
        let file = hostile();
        assert!(
            !file.contains("src=") && !file.contains("href=\"page") && !file.contains("icon.svg")
        );
        let (_, behind) = file.split_once("<script>").unwrap();
        let (script, _) = behind.split_once("</script>").unwrap();
        let (_, behind) = file.split_once("<style>").unwrap();
        let (style, _) = behind.split_once("</style>").unwrap();
        let policy = format!(
            "script-src {}; style-src {};",
            source(script),
            source(style)
        );
        assert!(file.contains(&policy), "{policy}");
        let place = |what| file.find(what).unwrap();
        assert!(place("Content-Security-Policy") < place("<style>"));
    }
}
