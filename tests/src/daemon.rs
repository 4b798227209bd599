//! Our controller and speakers as plain processes, for hollow nodes: with a token of their own
//! service account, the chart's rights and the capabilities that the chart gives them, and nothing
//! more.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde::Deserialize;
use serde_json::json;
use serde_yaml::Value;

use crate::command::stdout_of;
use crate::control_plane::{api_server_of, pki};
use crate::image::{Architecture, existing};
use crate::lab::Lab;
use crate::net::CONTROL_PLANE;
use crate::pki::{Identity, write_kubeconfig};

/// Where our daemons live, as in MetalLB's and minikube's manifests.
pub const NAMESPACE: &str = "metallb-system";

/// Objects of the chart that are about rights, and the one that the controller fills in; the rest is pods,
/// which hollow nodes do not run.
const RIGHTS: [&str; 6] = [
    "ConfigMap",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];

/// Which file of [`Lab::state`] says that the rights are there: the account of each component.
const ACCOUNTS: &str = "accounts.json";

/// A daemon to be started.
#[derive(Clone, Debug)]
#[must_use]
pub struct Daemon {
    component: &'static str,
    host: String,
    program: Option<PathBuf>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
}

impl Daemon {
    /// A controller on `host`.
    pub fn controller(host: &str) -> Self {
        Self::new("controller", host)
    }

    /// A speaker on a node.
    pub fn speaker(node: &str) -> Self {
        Self::new("speaker", node)
    }

    fn new(component: &'static str, host: &str) -> Self {
        let host = host.to_owned();
        Self {
            component,
            host,
            program: None,
            args: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    /// Its program, where it is not the one of [`program`].
    pub fn program(self, program: impl Into<PathBuf>) -> Self {
        Self {
            program: Some(program.into()),
            ..self
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds a variable to its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Its name among the lab's processes: `controller-cp`, `speaker-n1`.
    pub fn process_name(&self) -> String {
        format!("{}-{}", self.component, self.host)
    }

    /// What it may do beyond the user that it is: the chart's securityContext. It stays uid 0,
    /// which without capabilities has no more than any owner of files has.
    fn capabilities(&self) -> &'static str {
        match self.component {
            "speaker" => "-all,+net_raw",
            _ => "-all",
        }
    }
}

/// The program of a component: in `FERROLB_BIN_DIR`, or where `cargo build --release` for the
/// images puts it.
pub fn program(component: &str) -> Result<PathBuf> {
    let given = std::env::var_os("FERROLB_BIN_DIR").map(PathBuf::from);
    existing(
        &given.unwrap_or_else(|| Architecture::HERE.programs()),
        component,
    )
}

impl Lab {
    /// Starts a daemon; its name among the lab's processes. The first one also brings the chart's
    /// namespace, service accounts and roles.
    pub fn start_daemon(&self, daemon: &Daemon) -> Result<String> {
        let name = daemon.process_name();
        let host = self.host(&daemon.host)?;
        let program = match &daemon.program {
            Some(program) => program.clone(),
            None => program(daemon.component)?,
        };
        let account = self.account(daemon.component)?;
        let token = self.token(&account)?;
        let kubeconfig = self.state().subdir("kubeconfigs")?.join(&name);
        let (ca, server) = (pki(self)?.ca(), api_server_of(self, host)?);
        write_kubeconfig(&kubeconfig, &ca, server, &Identity::Token(token))?;
        let mut spec = host
            .process(&name, "setpriv")
            .args([
                "--no-new-privs",
                "--bounding-set",
                daemon.capabilities(),
                "--",
            ])
            .arg(program.to_string_lossy())
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args(&daemon.args)
            .env("FERROLB_NAMESPACE", NAMESPACE)
            .env("FERROLB_NODE_NAME", &daemon.host)
            .env("FERROLB_HOST", host.ipv4.to_string());
        spec.env.extend(daemon.env.clone());
        self.spawn(spec)
            .with_context(|| format!("cannot start {name}"))?;
        Ok(name)
    }

    /// Runs the plugin as the administrator, on a host that is no node.
    pub fn plugin(&self, args: &[&str]) -> Result<Output> {
        let plugin = program("kubectl-ferrolb")?;
        let mut command = self.host(CONTROL_PLANE)?.command(&plugin.to_string_lossy());
        command.args(args).env("KUBECONFIG", self.kubeconfig());
        command.output().context("cannot run the plugin")
    }

    /// The service account of a component.
    fn account(&self, component: &str) -> Result<String> {
        let accounts: BTreeMap<String, String> = match self.state().read_json(ACCOUNTS) {
            Ok(accounts) => accounts,
            Err(_) => self.install_rights()?,
        };
        let account = accounts.get(component).cloned();
        account.with_context(|| format!("the chart has no service account for the {component}"))
    }

    /// Applies what the chart says of rights; the service account of each component.
    fn install_rights(&self) -> Result<BTreeMap<String, String>> {
        let chart = crate::workspace().join("charts/ferrolb");
        let mut helm = self.helm_command()?;
        // Validated: against this cluster's version, not one that helm was built with.
        helm.args([
            "template",
            "--validate",
            "--namespace",
            NAMESPACE,
            "ferrolb",
        ])
        .arg(&chart);
        let rendered = stdout_of(&mut helm, "")?;
        let rights = rights_of(&rendered)?;
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        let mut yaml = format!("{namespace}\n");
        let mut accounts = BTreeMap::new();
        for object in rights {
            let head: Head = serde_yaml::from_value(object.clone())?;
            let component = head
                .metadata
                .labels
                .get("app.kubernetes.io/component")
                .cloned();
            if let (true, Some(component)) = (head.kind == "ServiceAccount", component) {
                accounts.insert(component, head.metadata.name);
            }
            yaml.push_str("---\n");
            yaml.push_str(&serde_yaml::to_string(&object)?);
        }
        self.apply(&yaml)
            .context("cannot apply the chart's rights")?;
        self.state().write_json(ACCOUNTS, &accounts)?;
        Ok(accounts)
    }

    fn token(&self, account: &str) -> Result<String> {
        /// Longer than any test.
        const SECONDS: i64 = 24 * 60 * 60;
        let status = self
            .api(async |client| {
                let accounts: Api<ServiceAccount> = Api::namespaced(client, NAMESPACE);
                let request: TokenRequest = serde_json::from_value(
                    json!({ "spec": { "audiences": [], "expirationSeconds": SECONDS } }),
                )?;
                let granted = accounts
                    .create_token_request(account, &PostParams::default(), &request)
                    .await?;
                Ok(granted.status)
            })
            .with_context(|| format!("cannot get a token for service account {account}"))?;
        Ok(status.context("the API server gave no token")?.token)
    }
}

/// The part of an object that we look at.
#[derive(Deserialize)]
struct Head {
    kind: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The objects about rights in a rendered chart.
fn rights_of(rendered: &str) -> Result<Vec<Value>> {
    let mut rights = Vec::new();
    for document in serde_yaml::Deserializer::from_str(rendered) {
        let object = Value::deserialize(document).context("cannot parse the rendered chart")?;
        // An empty document: a template that rendered to nothing.
        let kind = object
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if RIGHTS.contains(&kind) {
            rights.push(object);
        }
    }
    Ok(rights)
}
