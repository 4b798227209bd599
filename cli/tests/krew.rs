//! The manifest that krew installs the plugin by.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_yaml::Value;

/// What `make plugin` builds.
const BUILDS: &str = include_str!("../package");

/// As the bot that releases it fills it in.
fn released() -> Value {
    let filled = include_str!("../krew.yaml").lines().map(|line| {
        let Some((indent, call)) = line.split_once("{{addURIAndSha \"") else {
            return line.to_owned();
        };
        let (uri, _) = call.split_once("\" .TagName }}").unwrap();
        let sha = "0".repeat(64);
        format!("{indent}uri: {uri}\n{indent}sha256: \"{sha}\"")
    });
    let filled = filled.collect::<Vec<_>>().join("\n");
    let tag = format!("v{}", env!("CARGO_PKG_VERSION"));
    serde_yaml::from_str(&filled.replace("{{ .TagName }}", &tag)).unwrap()
}

#[test]
fn krew_finds_a_program_for_each_platform_by_the_name_that_kubectl_looks_for() {
    let manifest = released();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(
        text(&manifest["apiVersion"]),
        "krew.googlecontainertools.github.com/v1alpha2"
    );
    assert_eq!(text(&manifest["kind"]), "Plugin");
    // kubectl's plugin NAME is the program kubectl-NAME.
    let program = format!("kubectl-{}", text(&manifest["metadata"]["name"]));
    assert!(env!("CARGO_BIN_EXE_kubectl-ferrolb").ends_with(&program));
    let spec = &manifest["spec"];
    assert_eq!(
        text(&spec["version"]),
        format!("v{}", env!("CARGO_PKG_VERSION"))
    );
    // krew shows it in a table.
    assert!(text(&spec["shortDescription"]).len() < 50);
    let mut seen = Vec::new();
    for platform in spec["platforms"].as_sequence().unwrap() {
        let labels = &platform["selector"]["matchLabels"];
        let (os, arch) = (text(&labels["os"]), text(&labels["arch"]));
        let (end, archive) = match os.as_str() {
            "windows" => (".exe", "zip"),
            _ => ("", "tar.gz"),
        };
        assert_eq!(text(&platform["bin"]), format!("{program}{end}"));
        let uri = text(&platform["uri"]);
        assert!(
            uri.ends_with(&format!("/{program}-{os}-{arch}.{archive}")),
            "{uri}"
        );
        assert!(
            BUILDS.contains(&format!(" {os}-{arch}) target=")),
            "cli/package does not build for {os}-{arch}"
        );
        seen.push(format!("{os}/{arch}"));
    }
    let all = [
        "linux/amd64",
        "linux/arm64",
        "darwin/amd64",
        "darwin/arm64",
        "windows/amd64",
    ];
    assert_eq!(seen, all);
}
