//! What the pages for users name is there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docs {
    mod commands;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ferrolb_core::annotations::{self, OUR_PREFIX, On};
use ferrolb_core::config::{self, POOL_KEYS};
use ferrolb_tests::reference;
use serde::Deserialize as _;

use ferrolb_core::keep::shown::{KeepingStatus, KeptStatus};
use ferrolb_core::names::{ANNOTATION_PREFIXES, annotation};
use ferrolb_core::report::{Announcement, By, MemberStatus, SpeakerStatus, VipStatus};

#[test]
fn every_link_to_a_file_of_the_repository_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            let on_the_web = link.strip_prefix(REPOSITORY);
            if link.is_empty() || (on_the_web.is_none() && link.contains("://")) {
                continue;
            }
            let folder = match on_the_web {
                Some(_) => root(),
                None => page.parent().unwrap().to_owned(),
            };
            let link = on_the_web.unwrap_or(link);
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = match target {
                "" => page.clone(),
                target => folder.join(target),
            };
            assert!(file.exists(), "{}: {target} does not exist", page.display());
            let leads = heading.is_empty() || headings(&file).any(|one| one == heading);
            assert!(
                leads,
                "{}: {target} has no heading #{heading}",
                page.display()
            );
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links were found");
}

/// Where files of the repository are on the web.
const REPOSITORY: &str = "https://github.com/ferrolb/ferrolb/blob/main/";

/// The names under which a page's headings are linked to.
fn headings(page: &Path) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(page).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.into_iter().filter_map(|line| {
        let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
        let letters = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
            _ => None,
        });
        Some(letters.collect())
    })
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let sources = sources();
    let mut named = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let page = page.file_name().unwrap().to_string_lossy().into_owned();
        // Within code, as a whole word: `a/b.rs`, and `b.rs` in a drawing.
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-./".contains(c)));
        for word in words.map(|word| word.trim_end_matches(['.', '/'])) {
            let is_source = word.ends_with(".rs") && word.len() > ".rs".len();
            let is_ours = TOP.iter().any(|top| word.starts_with(top));
            if !is_source && !is_ours {
                continue;
            }
            let there = root().join(word).exists()
                || sources
                    .iter()
                    .any(|source| source.ends_with(Path::new(word)));
            assert!(there, "{page} names {word}, which does not exist");
            named += 1;
        }
    }
    assert!(named > 60, "only {named} files were found");
}

/// Folders whose files pages name with their path.
const TOP: [&str; 9] = [
    "charts/ferrolb/",
    "cli/src/",
    "controller/src/",
    "core/",
    "docs/",
    "examples/",
    "kube/src/",
    "speaker/src/",
    "tests/",
];

fn sources() -> Vec<PathBuf> {
    let mut sources = Vec::new();
    let mut folders: Vec<_> = ["core", "kube", "controller", "speaker", "cli", "tests"]
        .map(|name| root().join(name))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.push(path);
            }
        }
    }
    sources
}

#[test]
fn every_rule_of_the_protocol_that_the_code_cites_is_written_down_and_the_other_way_round() {
    let page = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let written = page.lines().filter_map(|line| line.strip_prefix("- **"));
    let written = written.filter_map(|line| line.split('.').next());
    let written: BTreeSet<_> = written.filter(|word| is_label(word)).collect();
    let code: String = sources()
        .iter()
        .filter(|path| {
            let rooms = ["ownership", "ownership.rs", "own_address.rs"];
            path.components()
                .any(|part| rooms.iter().any(|room| part.as_os_str() == *room))
        })
        .filter(|path| {
            path.extension()
                .is_some_and(|one| one == "rs" || one == "txt")
        })
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let cited: BTreeSet<_> = words.filter(|word| is_label(word)).collect();
    assert_eq!(
        written, cited,
        "written in docs/protocol.md; cited in the code"
    );
    assert!(written.len() > 35, "{written:?}");
}

/// `L4`, `C10`: a part of the protocol, and the number of a rule.
fn is_label(word: &str) -> bool {
    let mut chars = word.chars();
    let part = chars.next().is_some_and(|c| "LASCJHRBGKND".contains(c));
    let number = chars.as_str();
    part && matches!(number.len(), 1 | 2) && number.bytes().all(|c| c.is_ascii_digit())
}

#[test]
fn the_reference_pages_are_those_that_the_code_makes() {
    for (name, text) in reference::all().unwrap() {
        assert_made(&root().join(reference::FOLDER).join(name), &text);
    }
}

#[test]
fn what_the_chart_says_of_its_values_is_made_from_their_comments() {
    for (path, text) in reference::of_the_chart().unwrap() {
        assert_made(&root().join(path), &text);
    }
}

fn assert_made(path: &Path, text: &str) {
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "{} differs from the code: run `make reference`",
        path.display()
    );
}

#[test]
fn every_numbered_example_is_named_where_its_key_is_explained() {
    let page = fs::read_to_string(root().join("docs/configure.md")).unwrap();
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".yaml") || page.contains(&name), "{name}");
    }
}

#[test]
fn every_key_of_a_pool_and_every_annotation_is_explained() {
    let page = fs::read_to_string(root().join("docs/configure.md")).unwrap();
    for key in POOL_KEYS {
        let row = format!("| `{key}");
        assert!(
            page.contains(&row),
            "no row explains the key {key} of a pool"
        );
    }
    let of_services = annotations::ALL
        .iter()
        .filter(|one| one.on.contains(&On::Service));
    let read = of_services.filter(|one| one.name != annotation::IP_ALLOCATED_FROM_POOL);
    let names = read.map(|one| match one.name.starts_with(OUR_PREFIX) {
        true => one.name.to_owned(),
        false => format!("{}{}", ANNOTATION_PREFIXES[0], one.name),
    });
    let of_objects = annotations::OF_OBJECTS.iter();
    let names = names.chain(of_objects.map(|one| format!("{OUR_PREFIX}{}", one.key)));
    for name in names {
        let row = format!("| `{name}");
        assert!(page.contains(&row), "no row explains the annotation {name}");
    }
}

/// A mapping with a list of its own would not be in the reference.
#[test]
fn every_reader_of_the_config_map_has_its_keys_from_the_table() {
    let folder = root().join("core/src/config");
    let mut calls = 0;
    for source in sources() {
        // Objects have fields, which their definitions explain.
        let is_reader = source.parent() == Some(&folder) && !source.ends_with("fields.rs");
        if !is_reader && source != folder.with_extension("rs") {
            continue;
        }
        let code = fs::read_to_string(&source).unwrap();
        for call in code.split("Fields::read").skip(1) {
            let (arguments, _) = call.split_once("report)").unwrap();
            let is_named = arguments.contains("keys::") || arguments.contains("[keys.labels");
            assert!(is_named, "{}: Fields::read{arguments}", source.display());
            calls += 1;
        }
    }
    assert_eq!(calls, config::keys::ALL.len());
}

#[test]
fn every_key_of_a_speakers_status_is_listed() {
    let member = MemberStatus {
        node: "n1".to_owned(),
        address: [192, 168, 64, 11].into(),
        mac: String::new(),
        standing: String::new(),
        verdict: None,
        incarnation: 0,
        heard_millis_ago: None,
        addresses: 0,
        reason: None,
    };
    let announcement = Announcement {
        by: By::Layer2,
        node: "n1".to_owned(),
        links: Vec::new(),
    };
    let vip = VipStatus {
        address: [192, 168, 64, 200].into(),
        services: Vec::new(),
        owner: None,
        epoch: None,
        announced_here: false,
        reason: None,
        drawback: None,
        links: Vec::new(),
        standby_links: Vec::new(),
        announcements: vec![announcement],
    };
    let kept = KeptStatus {
        address: [192, 168, 64, 200].into(),
        from: "n1".to_owned(),
        seconds_left: 0,
        packets: 0,
        idle_seconds: 0,
    };
    let keeping = KeepingStatus {
        ready: false,
        problem: None,
        max_seconds: 0,
        addresses: vec![kept],
    };
    let status = SpeakerStatus {
        node: "n1".to_owned(),
        version: String::new(),
        waiting_for: None,
        isolated: false,
        members: vec![member],
        vips: vec![vip],
        keeping: Some(keeping),
    };
    let status = serde_json::to_value(status).unwrap();
    let page = fs::read_to_string(root().join("docs/plugin.md")).unwrap();
    let line = |start: &str| page.lines().find(|line| line.starts_with(start)).unwrap();
    let vip = &status["vips"][0];
    for (start, object) in [
        ("| the speaker |", &status),
        ("| `members[]`", &status["members"][0]),
        ("| `vips[]`", vip),
        ("| `vips[]`", &vip["announcements"][0]),
        ("| `keeping`", &status["keeping"]),
        ("| `keeping`", &status["keeping"]["addresses"][0]),
    ] {
        let letters = |c: char| !c.is_ascii_alphanumeric();
        let listed: Vec<_> = line(start).split(letters).collect();
        for key in object.as_object().unwrap().keys() {
            assert!(listed.contains(&&**key), "{start} does not list {key}");
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let root = root();
    let mut pages = vec![
        root.join("README.md"),
        root.join("ARCHITECTURE.md"),
        root.join("CONTRIBUTING.md"),
        root.join("SECURITY.md"),
        root.join("charts/ferrolb/README.md"),
        root.join("examples/reference-walk/README.md"),
    ];
    pages.extend(of_the_book());
    pages
}

/// The pages of the documentation site.
fn of_the_book() -> Vec<PathBuf> {
    let (mut pages, mut folders) = (Vec::new(), vec![root().join("docs")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|one| one == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The fenced blocks of a page in these languages.
fn blocks(text: &str, languages: &[&str]) -> Vec<String> {
    let parts: Vec<_> = text.split("\n```").collect();
    let fenced = parts.iter().skip(1).step_by(2);
    let of_language = fenced.filter_map(|block| {
        let (language, block) = block.split_once('\n')?;
        languages.contains(&language).then(|| block.to_owned())
    });
    of_language.collect()
}

#[test]
fn the_table_of_contents_has_every_page_once() {
    let docs = root().join("docs");
    let contents = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let mut listed: Vec<_> = contents
        .split("](")
        .skip(1)
        .filter_map(|link| Some(docs.join(link.split_once(')')?.0)))
        .collect();
    let mut pages = of_the_book();
    pages.retain(|page| !page.ends_with("SUMMARY.md"));
    listed.sort();
    pages.sort();
    assert_eq!(listed, pages, "in docs/SUMMARY.md; in docs");
}

#[test]
fn every_page_with_manifests_says_what_applies_them_or_why_nothing_does() {
    for page in of_the_book() {
        let text = fs::read_to_string(&page).unwrap();
        let is_said = ["<!-- run by ", "<!-- not run: "]
            .iter()
            .any(|begin| text.contains(begin));
        assert!(
            blocks(&text, &["yaml"]).is_empty() || is_said,
            "{} has manifests: say in a comment `run by TEST` or `not run: why`",
            page.display()
        );
    }
}

#[test]
fn every_configuration_on_a_page_is_one() {
    let mut configurations = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text, &["yaml"]) {
            for document in serde_yaml::Deserializer::from_str(&block) {
                let object = serde_yaml::Value::deserialize(document);
                let object =
                    object.unwrap_or_else(|error| panic!("{}: {error}\n{block}", page.display()));
                let Some(text) = object["data"]["config"].as_str() else {
                    continue;
                };
                let read = config::parse(text);
                assert!(
                    matches!(read, config::Outcome::Valid(_)),
                    "{}: {read:?}\n{text}",
                    page.display()
                );
                configurations += 1;
            }
        }
        // As a value of the chart, on a command line.
        for rest in text.split("'configInline=").skip(1) {
            let json = rest.split('\'').next().unwrap();
            let read = config::parse(json);
            assert!(
                matches!(read, config::Outcome::Valid(_)),
                "{}: {read:?}\n{json}",
                page.display()
            );
            configurations += 1;
        }
    }
    assert!(configurations >= 9, "only {configurations} were found");
}

#[test]
fn every_command_of_the_plugin_on_a_page_is_one() {
    let help = fs::read_to_string(root().join("docs/reference/plugin.md")).unwrap();
    let known: BTreeSet<_> = help
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let mut found = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for rest in text.split("kubectl ferrolb ").skip(1) {
            let verb = rest
                .split(|c: char| !c.is_ascii_lowercase() && c != '-')
                .next()
                .unwrap();
            if verb.is_empty()
                || verb.starts_with('-')
                || rest.starts_with(|c: char| c.is_ascii_uppercase())
            {
                continue;
            }
            assert!(
                known.contains(verb) || verb == "help",
                "{}: kubectl ferrolb {verb}",
                page.display()
            );
            found += 1;
        }
    }
    assert!(found > 60, "only {found} were found");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
