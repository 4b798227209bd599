//! What is accepted and probably not meant, and files that are something else than they should be.

use super::*;

fn warned(text: &str) -> Vec<String> {
    let (outcome, warnings) = parse_with_warnings(text);
    assert!(matches!(outcome, Outcome::Valid(_)), "{outcome:?}");
    warnings
        .iter()
        .flat_map(Problems::iter)
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_prefix_that_is_not_on_its_boundary_is_accepted_with_a_warning() {
    let rows = [
        (
            "192.168.100.200/28",
            "192.168.100.192 to 192.168.100.207",
            "`192.168.100.200-192.168.100.207`",
        ),
        (
            "192.168.1.1/24",
            "192.168.1.0 to 192.168.1.255",
            "`192.168.1.0/24`",
        ),
        (
            "fd00:64::12/120",
            "fd00:64:: to fd00:64::ff",
            "`fd00:64::12-fd00:64::ff`",
        ),
        (" 10.0.0.3 / 31 ", "10.0.0.2 to 10.0.0.3", "`10.0.0.2/31`"),
    ];
    for (entry, means, instead) in rows {
        let warned = warned(&with_addresses(&[entry]));
        assert_eq!(warned.len(), 1, "{entry}");
        assert!(warned[0].starts_with("line 5, column "), "{warned:?}");
        assert!(
            warned[0].contains(means) && warned[0].contains(instead),
            "{warned:?}"
        );
    }
    let quiet = [
        "192.168.100.192/28",
        "10.0.0.7/32",
        "10.1.0.1-10.1.0.6",
        "10.2.0.1",
        "::ffff:10.3.0.0/112",
    ];
    assert_eq!(warned(&with_addresses(&quiet)), [""; 0]);
}

#[test]
fn what_is_refused_warns_of_nothing_besides() {
    let (outcome, warnings) = parse_with_warnings(&with_addresses(&["10.0.0.9/24", "nonsense"]));
    assert!(matches!(outcome, Outcome::Refused(_)));
    assert_eq!(warnings, None);
}

#[test]
fn a_character_that_cannot_be_seen_is_named() {
    for (hidden, code) in [
        ('\u{200b}', "U+200B"),
        ('\u{feff}', "U+FEFF"),
        ('\u{2060}', "U+2060"),
        ('\u{ad}', "U+00AD"),
        ('\u{200e}', "U+200E"),
        ('\u{3000}', "U+3000"),
    ] {
        let entry = format!("10.0.{hidden}0.1-10.0.0.3");
        let problem = refused(&with_addresses(&[&entry]))
            .iter()
            .next()
            .unwrap()
            .clone();
        assert!(problem.message.contains(code), "{}", problem.message);
        assert!(!problem.to_string().contains(hidden), "{problem}");
        assert_eq!(problem.help, "type it anew: `10.0.0.1-10.0.0.3`");
    }
    // Blanks of any kind where an ordinary one does no harm do none either.
    valid(&with_addresses(&["10.0.0.1\u{a0}-\u{2003}10.0.0.3\u{a0}"]));
    let key = with_addresses(&["10.0.0.1"]).replace("addresses", "address\u{200b}es");
    let problem = refused(&key).iter().next().unwrap().to_string();
    assert!(
        problem.contains("`address\\u{200b}es`: did you mean `addresses`?"),
        "{problem}"
    );
}

fn config_map(key: &str, value: &str) -> String {
    let value: String = value.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{namespace: lb, name: pools}}\ndata:\n  {key}: \
         |\n{value}"
    )
}

#[test]
fn pools_under_another_key_are_told_as_the_daemons_tell_it() {
    let pools = with_addresses(&["10.0.0.1"]);
    for key in ["config.yaml", "Config", "metallb.yml"] {
        let checked = check_file(&config_map(key, &pools)).unwrap();
        let want = Outcome::NotConfigured(NotConfigured::NoKey(vec![key.to_owned()]));
        assert_eq!(checked[0].outcome, want);
        assert_eq!(checked[0].object.as_ref().unwrap().to_string(), "lb/pools");
        assert!(want_says(&checked[0].outcome, &format!("rename `{key}`")));
    }
    // Somebody else's ConfigMap.
    assert!(check_file(&config_map("nginx.conf", "listen 80;")).is_err());
}

fn want_says(outcome: &Outcome, words: &str) -> bool {
    matches!(outcome, Outcome::NotConfigured(what) if what.to_string().contains(words))
}

#[test]
fn metallbs_objects_lead_to_migrate() {
    let objects = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec: {addresses: [10.0.0.1/32]}\n";
    let error = check_file(objects).unwrap_err().to_string();
    assert!(
        error.contains("IPAddressPool") && error.contains("kubectl ferrolb migrate"),
        "{error}"
    );
    // Beside a configuration they are no mistake: both may lie in one directory.
    let both = format!(
        "{objects}---\n{}",
        config_map("config", &with_addresses(&["10.0.0.1"]))
    );
    assert!(check_file(&both).is_ok());
    let others = check_file("apiVersion: v1\nkind: Service\n")
        .unwrap_err()
        .to_string();
    assert!(!others.contains("migrate"), "{others}");
}

#[test]
fn values_for_the_chart_are_checked_where_the_configuration_stands_in_them() {
    let pools = with_addresses(&["10.0.0.1", "nonsense"]);
    let indented = |by: usize| -> String {
        pools
            .lines()
            .map(|line| format!("{}{line}\n", " ".repeat(by)))
            .collect()
    };
    let alone = format!("replicas: 2\nconfigInline:\n{}", indented(2));
    let part = format!(
        "other: {{a: b}}\nferrolb:\n  configInline:\n{}",
        indented(4)
    );
    for (text, line) in [(alone, 8), (part, 9)] {
        let checked = check_file(&text).unwrap();
        let Outcome::Refused(problems) = &checked[0].outcome else {
            panic!("{checked:?}");
        };
        let problem = problems.iter().next().unwrap();
        let told = (problem.place.line(), problems.count());
        assert_eq!(told, (Some(line), 1), "{problem}");
        let mended = check_file(&text.replace("nonsense", "10.0.0.2/31")).unwrap();
        assert!(matches!(mended[0].outcome, Outcome::Valid(_)), "{mended:?}");
    }
    for empty in ["configInline: {}\n", "configInline:\n"] {
        let checked = check_file(empty).unwrap();
        assert_eq!(
            checked[0].outcome,
            Outcome::NotConfigured(NotConfigured::Empty)
        );
    }
    // In the ConfigMap itself it is one level too much.
    let inside = refused(&format!("configInline:\n{}", indented(2)));
    let problem = inside.iter().next().unwrap().to_string();
    assert!(
        problem.contains("move what stands under it to its place"),
        "{problem}"
    );
}
