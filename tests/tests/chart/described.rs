//! What the chart says of itself to who browses charts, or edits values in an editor that knows the schema.

use std::fs;

use serde_json::Value;

use super::super::Chart;

/// Where a file of the repository is on the web.
const RAW: &str = "https://raw.githubusercontent.com/ferrolb/ferrolb/main/";

#[test]
fn every_property_of_the_schema_is_described() {
    let schema = fs::read(Chart::folder().join("values.schema.json")).unwrap();
    let mut properties = Vec::new();
    collect(
        &serde_json::from_slice(&schema).unwrap(),
        "",
        &mut properties,
    );
    assert!(
        properties.len() > 200,
        "only {} were found",
        properties.len()
    );
    let undescribed =
        |(path, about): &(String, String)| (!about.ends_with('.')).then(|| path.clone());
    let undescribed: Vec<_> = properties.iter().filter_map(undescribed).collect();
    assert!(
        undescribed.is_empty(),
        "no sentence describes {undescribed:#?}"
    );
}

/// Properties with their descriptions, also those of definitions, of elements of lists and of alternatives.
fn collect(schema: &Value, path: &str, found: &mut Vec<(String, String)>) {
    let Value::Object(entries) = schema else {
        let elements = schema.as_array().into_iter().flatten();
        return elements.for_each(|element| collect(element, path, found));
    };
    for (keyword, value) in entries {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    let path = format!("{path}.{name}");
                    let about = property["description"].as_str().unwrap_or_default();
                    found.push((path.clone(), about.to_owned()));
                    collect(property, &path, found);
                }
            }
            ("definitions", Value::Object(definitions)) => {
                for (name, definition) in definitions {
                    collect(definition, &format!("#/definitions/{name}"), found);
                }
            }
            _ => collect(value, path, found),
        }
    }
}

#[test]
fn helm_shows_the_readme_with_every_value() {
    let shown = Chart::here().helm(&["show", "readme", "."], "").unwrap();
    let readme = fs::read_to_string(Chart::folder().join("README.md")).unwrap();
    assert_eq!(shown.trim(), readme.trim());
    assert!(
        shown.contains("| `speaker.peersPort` | `7946` |"),
        "{shown}"
    );
}

#[test]
fn the_icon_is_a_drawing_of_this_repository() {
    let chart = fs::read_to_string(Chart::folder().join("Chart.yaml")).unwrap();
    let chart: serde_yaml::Value = serde_yaml::from_str(&chart).unwrap();
    let path = chart["icon"].as_str().unwrap().strip_prefix(RAW).unwrap();
    let icon = fs::read_to_string(Chart::folder().join("../..").join(path)).unwrap();
    assert!(
        icon.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""),
        "{icon}"
    );
    // Who shows it may have neither our fonts nor a way to fetch anything.
    for foreign in ["<text", "href=", "url(http", "<script"] {
        assert!(!icon.contains(foreign), "{foreign} in {icon}");
    }
}
