//! Debian's chromium, driven by its chromedriver as W3C WebDriver says.
//!
//! The few commands that are needed are sent here by hand. Of the crates that speak it, thirtyfour turns on
//! `preserve_order` of `serde_json` for the whole workspace, so that tests would see other answers than users;
//! fantoccini brings 46 crates, two versions of ICU among them, and one under the MPL.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrolb_tests::net::Host;
use ferrolb_tests::wait::wait_until;
use serde_json::{Value, json};

/// Of the driver, in a network namespace of its own.
const PORT: u16 = 9515;
/// A browser starts within seconds, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A browser on a host of the lab; it ends with this value.
pub(crate) struct Browser<'a> {
    host: &'a Host,
    driver: Child,
    /// `/session/ID`
    session: String,
    /// What it writes goes there, and is gone with it.
    folder: tempfile::TempDir,
}

impl<'a> Browser<'a> {
    /// `looks`: options of chromium.
    pub(crate) fn start(host: &'a Host, looks: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = host.command("chromedriver");
        let driver = command
            .arg(format!("--port={PORT}"))
            .env("HOME", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run chromedriver")?;
        let mut browser = Self {
            host,
            driver,
            session: String::new(),
            folder,
        };
        let answers = || Ok(browser.send("GET", "/status", &Value::Null).is_ok());
        wait_until(PATIENCE, answers, || Ok(())).context("chromedriver does not answer")?;
        // It does not come up now and then.
        let id = browser.begin("data", looks);
        let id = id.or_else(|_| browser.begin("data-again", looks))?;
        browser.session = format!("/session/{id}");
        Ok(browser)
    }

    /// A session of a browser whose profile is this folder: its id.
    fn begin(&self, profile: &str, looks: &[&str]) -> Result<String> {
        let data = self.folder.path().join(profile);
        let data = format!("--user-data-dir={}", data.display());
        let usual = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            &data,
        ];
        let args = [&usual[..], looks].concat();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = self.send("POST", "/session", &wanted)?;
        let id = session["sessionId"].as_str().context("no session")?;
        Ok(id.to_owned())
    }

    /// Loads a page.
    pub(crate) fn open(&self, url: &str) -> Result<()> {
        self.command("url", &json!({ "url": url })).map(drop)
    }

    /// What a script returns.
    pub(crate) fn run(&self, script: &str) -> Result<Value> {
        let script = json!({ "script": script, "args": [] });
        self.command("execute/sync", &script)
    }

    /// Until a script returns what is true.
    pub(crate) fn until(&self, script: &str) -> Result<Value> {
        let found = RefCell::new(Value::Null);
        let is_true = || {
            *found.borrow_mut() = self.run(script)?;
            Ok(![Value::Null, json!(false)].contains(&found.borrow()))
        };
        wait_until(PATIENCE, is_true, || Ok(())).with_context(|| {
            let page = self.run("return document.body.innerText");
            format!("never: {script}\n{page:?}")
        })?;
        Ok(found.into_inner())
    }

    /// Presses keys, as a person does; `\u{e004}` is the tabulator, `\u{e007}` Enter.
    pub(crate) fn press(&self, keys: &str) -> Result<()> {
        let strokes: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] });
        self.command("actions", &actions).map(drop)
    }

    /// What the console has been told since the last time.
    pub(crate) fn complaints(&self) -> Result<Vec<String>> {
        let told = self.command("se/log", &json!({ "type": "browser" }))?;
        let told = told.as_array().context("no log")?;
        Ok(told.iter().map(|one| one["message"].to_string()).collect())
    }

    /// What is seen, as a PNG.
    pub(crate) fn picture(&self, file: &Path) -> Result<()> {
        let path = format!("{}/screenshot", self.session);
        let picture = self.send("GET", &path, &Value::Null)?;
        let picture = STANDARD.decode(picture.as_str().context("no picture")?)?;
        fs::write(file, picture).with_context(|| file.display().to_string())
    }

    fn command(&self, name: &str, data: &Value) -> Result<Value> {
        self.send("POST", &format!("{}/{name}", self.session), data)
    }

    fn send(&self, method: &str, path: &str, data: &Value) -> Result<Value> {
        let answer = self.host.enter(|| exchange(method, path, data))??;
        let value = answer["value"].clone();
        ensure!(
            value["error"].is_null(),
            "{method} {path}: {}: {}",
            value["error"],
            value["message"]
        );
        Ok(value)
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        // Ends the browser; without the driver it has nobody who would.
        let _ = self.send("DELETE", &self.session, &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn exchange(method: &str, path: &str, data: &Value) -> Result<Value> {
    let body = if data.is_null() {
        String::new()
    } else {
        data.to_string()
    };
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    // It says that it closes the connection, and does not.
    let mut answer = BufReader::new(stream);
    let mut length = None;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = Some(value.trim().parse()?);
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length.context("no length")?];
    answer.read_exact(&mut body)?;
    serde_json::from_slice(&body).with_context(|| String::from_utf8_lossy(&body).into_owned())
}
