//! A lab, and the stage on which what a user does to it is told: each command as it is typed, then what
//! it printed.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::stdout_of;
use crate::lab::Lab;
use crate::net::Host;
use crate::observe::http_get;
use crate::stage::Stage;
use crate::wait::wait_until;
use crate::walk::{self, PATIENCE};
use crate::workspace;

/// Of a page that is asked for.
const LONGEST_TRY: Duration = Duration::from_secs(2);

/// What happens to one lab, told on one stage.
pub(crate) struct Scene<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) stage: &'a Stage,
}

impl Scene<'_> {
    /// A kubectl that is seen.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<()> {
        self.stage.command("kubectl", args);
        let said = self.quietly(args)?;
        self.stage.output(&said);
        Ok(())
    }

    /// A kubectl that is not seen.
    pub(crate) fn quietly(&self, args: &[&str]) -> Result<String> {
        self.stdout_of(self.lab.kubectl_command()?, args)
    }

    /// A helm that is seen, but for the notes of the chart.
    pub(crate) fn helm(&self, args: &[&str]) -> Result<()> {
        self.stage.command("helm", args);
        let said = self.stdout_of(self.lab.helm_command()?, args)?;
        let said = match said.split_once("\nNOTES:\n") {
            Some((said, notes)) => format!("{said}\nNOTES: … ({} lines)", notes.lines().count()),
            None => said,
        };
        self.stage.output(&said);
        Ok(())
    }

    /// The plugin, seen; what it printed, and its exit status. A status other than 0 is an answer too.
    pub(crate) fn plugin(&self, args: &[&str]) -> Result<(String, Option<i32>)> {
        self.stage
            .command("kubectl", &[&["ferrolb"], args].concat());
        let output = self.lab.plugin(args)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        self.stage.output(&said);
        ensure!(
            output.stderr.is_empty(),
            "the plugin complains: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok((said, output.status.code()))
    }

    fn stdout_of(&self, mut command: Command, args: &[&str]) -> Result<String> {
        stdout_of(walk::in_workspace(&mut command).args(args), "")
    }

    /// `kubectl apply` of files of the reference walk.
    pub(crate) fn apply(&self, files: &[&str]) -> Result<()> {
        let args = walk::apply_args(files);
        self.kubectl(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Shows a Service that has no address, and what its user is told.
    pub(crate) fn waits(&self, service: &str) -> Result<()> {
        self.kubectl(&["get", "service", service])?;
        let address = "jsonpath={.status.loadBalancer.ingress[*].ip}";
        let address = self.quietly(&["get", "service", service, "-o", address])?;
        ensure!(
            address.is_empty(),
            "{service} has {address} before anything is configured"
        );
        self.stage.tell(
            "Nobody has said yet which addresses may be given. The controller says so where a user \
             looks:",
        );
        self.kubectl(&[
            "get",
            "events",
            "--field-selector",
            &format!("involvedObject.name={service}"),
            "-o",
            "custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message",
        ])
    }

    /// Shows and applies a configuration, and waits until Service `test-lb` has its address.
    pub(crate) fn configure(&self, file: &str, address: Ipv4Addr) -> Result<()> {
        self.stage
            .file(&workspace().join("examples/reference-walk").join(file))?;
        let watch = self.stage.watch(
            self.lab.kubectl_command()?,
            &["get", "service", "test-lb", "--watch"],
            &address.to_string(),
        )?;
        let applied = Instant::now();
        self.apply(&[file])?;
        let seen = watch.wait(PATIENCE)?;
        self.stage.tell(&format!(
            "EXTERNAL-IP went from <pending> to {address}, {} ms after the command began.",
            seen.saturating_duration_since(applied).as_millis(),
        ));
        Ok(())
    }

    /// A page of the application, fetched by the client on the LAN.
    pub(crate) fn fetch(&self, address: Ipv4Addr, port: u16) -> Result<()> {
        let url = format!("http://{address}:{port}/");
        self.stage.command("curl", &[&url]);
        let mut curl = self.lab.client()?.command("curl");
        curl.args(["--silent", "--show-error", "--fail", &url]);
        self.stage.output(&stdout_of(&mut curl, "")?);
        Ok(())
    }

    /// Waits until the application answers there, and reaches its redis: kube-proxy programs a new
    /// address, port or endpoint up to a second later. It fetches no page, so it is not counted.
    pub(crate) fn until_answered(&self, address: Ipv4Addr, port: u16) -> Result<()> {
        let to = SocketAddr::new(IpAddr::V4(address), port);
        let wait = || {
            // Short at first: what was sent to a node that is gone is lost, and the kernel sends it again only
            // after a second. But a slow machine takes its time to answer.
            let patience = Cell::new(Duration::from_millis(100));
            let answers = || {
                let page = http_get(to, "/readyz", patience.get());
                let is_late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
                if page.as_ref().is_err_and(is_late) {
                    patience.set(LONGEST_TRY.min(patience.get() * 2));
                }
                Ok(page.is_ok_and(|page| page.status == 200))
            };
            wait_until(PATIENCE, answers, || Ok(()))
        };
        self.lab
            .client()?
            .enter(wait)?
            .with_context(|| format!("waiting for {to} to answer"))
    }

    /// The one node that answers ARP for the address, as soon as somebody does.
    pub(crate) fn owner(&self, address: Ipv4Addr) -> Result<&Host> {
        let macs = walk::answering_macs(self.lab, address)?;
        let [mac] = macs[..] else {
            bail!("one node should answer for {address}, but these do: {macs:?}");
        };
        let mut nodes = self.lab.nodes().into_iter();
        nodes
            .find(|node| node.mac == mac)
            .with_context(|| format!("{mac} answers for {address}, which is no node"))
    }
}
