use std::collections::BTreeMap;
use std::io::Read;

use super::*;

#[test]
fn packing_the_same_content_twice_gives_the_same_file() {
    let cache = tempfile::tempdir().unwrap();
    let image = image_of(&cache, "hello");
    let first = image.pack_into(cache.path()).unwrap();
    let bytes = fs::read(&first).unwrap();
    fs::remove_file(&first).unwrap();
    assert_eq!(
        image.pack_into(cache.path()).unwrap(),
        first,
        "the name follows from the content"
    );
    assert_eq!(
        fs::read(&first).unwrap(),
        bytes,
        "the bytes follow from the content"
    );
}

#[test]
fn changed_content_gives_another_file() {
    let cache = tempfile::tempdir().unwrap();
    let before = image_of(&cache, "hello").pack_into(cache.path()).unwrap();
    let after = image_of(&cache, "world").pack_into(cache.path()).unwrap();
    assert_ne!(before, after);
}

#[test]
fn a_new_archive_takes_the_place_of_those_of_its_image_that_nobody_used_lately() {
    let cache = tempfile::tempdir().unwrap();
    let pack = |content: &str, reference: &str| {
        let image = Image {
            reference: reference.to_owned(),
            ..image_of(&cache, content)
        };
        image.pack_into(cache.path()).unwrap()
    };
    let web = "example.com/web:1";
    let [idle, used] = ["before", "in use"].map(|content| pack(content, web));
    let others =
        ["example.com/web:1-debug", "example.com/web:2"].map(|other| pack("before", other));
    let long_ago = SystemTime::now() - UNUSED - Duration::from_secs(60);
    for archive in others.iter().chain([&idle, &used]) {
        let file = File::open(archive).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    assert_eq!(pack("in use", web), used);
    let newest = pack("after", web);
    assert!(!idle.exists());
    for there in others.iter().chain([&used, &newest]) {
        assert!(there.exists(), "{}", there.display());
    }
}

#[test]
fn the_archive_names_a_layer_whose_digest_is_in_the_configuration() {
    let cache = tempfile::tempdir().unwrap();
    let packed = image_of(&cache, "hello").pack_into(cache.path()).unwrap();
    let parts = entries(&fs::read(&packed).unwrap());
    let manifest: Value = serde_json::from_slice(&parts["manifest.json"]).unwrap();
    assert_eq!(manifest[0]["RepoTags"][0], "example.com/hello:1");
    let config = &parts[manifest[0]["Config"].as_str().unwrap()];
    let id = format!("sha256:{}", hex(&Sha256::digest(config)));
    assert_eq!(id_of(&packed).unwrap(), id);
    let config: Value = serde_json::from_slice(config).unwrap();
    let layer = &parts[manifest[0]["Layers"][0].as_str().unwrap()];
    let digest = format!("sha256:{}", hex(&Sha256::digest(layer)));
    assert_eq!(config["rootfs"]["diff_ids"][0], digest.as_str());
    assert_eq!(config["config"]["Entrypoint"][0], "/bin/hello");
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.title"], "hello");
    let files = entries(layer);
    assert_eq!(files["bin/hello"], b"hello");
    assert!(
        files.contains_key("data"),
        "the working directory must exist: {:?}",
        files.keys()
    );
}

#[test]
fn ldd_names_libraries_and_the_loader() {
    let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1c)\n\
                \t/lib64/ld-linux-x86-64.so.2 (0x00007f1d)\n";
    let found = libraries::parse(said);
    let expected = [
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64/ld-linux-x86-64.so.2",
    ];
    assert_eq!(found, expected.map(PathBuf::from));
}

fn image_of(dir: &tempfile::TempDir, content: &str) -> Image {
    let program = dir.path().join("program");
    fs::write(&program, content).unwrap();
    Image::new("example.com/hello:1")
        .file(&program, "/bin/hello")
        .label("org.opencontainers.image.title", "hello")
        .entrypoint(&["/bin/hello"])
        .working_dir("/data")
}

fn entries(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), bytes)
    };
    archive.entries().unwrap().map(read).collect()
}
