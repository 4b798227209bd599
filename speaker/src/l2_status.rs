//! `ServiceL2Status` objects, as `MetalLB`'s speakers write them: which node announces a Service. Off unless it is
//! asked for, since it costs writes at every move, which is when the API server may be away. Nothing waits for it,
//! and nothing is decided by it.
//!
//! An object is for one Service and one node: `MetalLB`'s definition lets nobody change either. Whoever begins to
//! announce writes its own and deletes those of other nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::names::SPEAKER_COMPONENT;
use ferrolb_core::view::ServiceKey;
use ferrolb_kube::answer::version_after;
use http::Request as HttpRequest;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Client, Error};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch as latest;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

const API_VERSION: &str = "metallb.io/v1beta1";
const KIND: &str = "ServiceL2Status";
const LABEL_NODE: &str = "metallb.io/node";
const LABEL_NAME: &str = "metallb.io/service-name";
const LABEL_NAMESPACE: &str = "metallb.io/service-namespace";
/// The API server takes no longer value of a label.
const LONGEST_LABEL: usize = 63;
const TIMEOUT: Duration = Duration::from_secs(5);
/// What failed is tried again, at first after this time.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_AT_MOST: Duration = Duration::from_secs(300);

/// What this node announces: of each Service the addresses, and the links that its advertisements name.
type Announced = BTreeMap<ServiceKey, (BTreeSet<IpAddr>, BTreeSet<String>)>;

/// Where the main thread says what is announced; does nothing unless statuses are to be written.
#[derive(Debug, Default)]
pub struct L2Statuses(Option<latest::Sender<Announced>>);

impl L2Statuses {
    /// Starts the writer, in `namespace`, for the node `me`. `pod` is this speaker's own, as `NAME/UID`: with it
    /// the objects go.
    #[must_use]
    pub fn spawn(client: Client, namespace: &str, me: String, pod: Option<&str>) -> Self {
        let (sender, announced) = latest::channel(Announced::new());
        let pod = pod.and_then(|pod| pod.split_once('/'));
        let writer = Writer {
            client,
            request: Request::new(format!(
                "/apis/{API_VERSION}/namespaces/{namespace}/servicel2statuses"
            )),
            namespace: namespace.to_owned(),
            me,
            owner: pod.map(|(name, uid)| {
                json!({ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid })
            }),
            written: BTreeMap::new(),
        };
        tokio::spawn(writer.run(announced));
        Self(Some(sender))
    }

    /// This node announces `address` for these Services and no others; none if it does not any more.
    pub fn set(&self, address: IpAddr, services: &BTreeSet<ServiceKey>, links: &BTreeSet<String>) {
        let Some(sender) = &self.0 else { return };
        sender.send_if_modified(|announced| {
            let mut is_news = false;
            announced.retain(|key, (addresses, _)| {
                if !services.contains(key) {
                    is_news |= addresses.remove(&address);
                }
                !addresses.is_empty()
            });
            for key in services {
                let entry = announced.entry(key.clone()).or_default();
                is_news |= entry.0.insert(address);
                if entry.1 != *links {
                    entry.1.clone_from(links);
                    is_news = true;
                }
            }
            is_news
        });
    }
}

struct Writer {
    client: Client,
    request: Request,
    namespace: String,
    me: String,
    /// Of the objects: this speaker's pod.
    owner: Option<Value>,
    /// What stands in the API server, with the links.
    written: BTreeMap<ServiceKey, BTreeSet<String>>,
}

/// Why something was not written.
enum Failure {
    /// This account may not: nothing will change that while the process runs.
    Forbidden,
    /// It may go well later; for people.
    Later(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::Api(status) if status.code == 403 => Self::Forbidden,
            _ => Self::Later(error.to_string()),
        }
    }
}

impl Writer {
    async fn run(mut self, mut announced: latest::Receiver<Announced>) {
        let mut again = AGAIN;
        let mut is_tidy = false;
        loop {
            let wanted: BTreeMap<_, _> = announced
                .borrow_and_update()
                .iter()
                .map(|(key, (_, links))| (key.clone(), links.clone()))
                .collect();
            let result = async {
                if !is_tidy {
                    self.forget_former().await?;
                    is_tidy = true;
                }
                self.follow(&wanted).await
            };
            match result.await {
                Ok(()) => {
                    again = AGAIN;
                    if announced.changed().await.is_err() {
                        return;
                    }
                }
                Err(Failure::Forbidden) => {
                    warn!(
                        "ServiceL2Status is not written: this account has no right to \
                         servicel2statuses; the chart gives it with speaker.serviceL2Status"
                    );
                    return;
                }
                Err(Failure::Later(error)) => {
                    debug!(error, "ServiceL2Status not written, trying again");
                    sleep(again).await;
                    again = (again * 2).min(AGAIN_AT_MOST);
                }
            }
        }
    }

    /// What an earlier process of this node has left.
    async fn forget_former(&self) -> Result<(), Failure> {
        let former = self.list(LABEL_NODE, &label(&self.me)).await?;
        let former = former
            .iter()
            .filter(|object| object["metadata"]["labels"][LABEL_NODE] == label(&self.me).as_str());
        for object in former {
            self.delete(object["metadata"]["name"].as_str().unwrap_or_default())
                .await?;
        }
        Ok(())
    }

    /// Brings the objects in step with what is announced; writes only what differs.
    async fn follow(
        &mut self,
        wanted: &BTreeMap<ServiceKey, BTreeSet<String>>,
    ) -> Result<(), Failure> {
        let gone: Vec<_> = self
            .written
            .keys()
            .filter(|key| !wanted.contains_key(key))
            .cloned()
            .collect();
        for key in gone {
            self.delete(&name_of(&key, &self.me)).await?;
            self.written.remove(&key);
        }
        for (key, links) in wanted {
            if self.written.get(key) == Some(links) {
                continue;
            }
            self.write(key, links).await?;
            if self.written.insert(key.clone(), links.clone()).is_none() {
                self.delete_others(key).await?;
            }
        }
        Ok(())
    }

    async fn write(&self, key: &ServiceKey, links: &BTreeSet<String>) -> Result<(), Failure> {
        let name = name_of(key, &self.me);
        let object = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": {
                    LABEL_NODE: label(&self.me),
                    LABEL_NAME: label(&key.name),
                    LABEL_NAMESPACE: label(&key.namespace),
                },
                "ownerReferences": self.owner.iter().collect::<Vec<_>>(),
            },
        });
        let params = PostParams {
            field_manager: Some(SPEAKER_COMPONENT.to_owned()),
            dry_run: false,
        };
        let body = serde_json::to_vec(&object).map_err(Error::SerdeError)?;
        let create = self.request.create(&params, body);
        match self.send(create.map_err(Error::BuildRequest)?).await {
            Ok(()) => {}
            Err(Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
        let links: Vec<_> = links.iter().map(|link| json!({ "name": link })).collect();
        let status = json!({ "status": {
            "node": self.me, "serviceName": &*key.name, "serviceNamespace": &*key.namespace,
            "interfaces": links,
        } });
        let params = PatchParams {
            field_manager: Some(SPEAKER_COMPONENT.to_owned()),
            ..PatchParams::default()
        };
        let patch = self
            .request
            .patch_subresource("status", &name, &params, &Patch::Merge(status));
        Ok(self.send(patch.map_err(Error::BuildRequest)?).await?)
    }

    /// Those of the node that announced the Service before.
    async fn delete_others(&self, key: &ServiceKey) -> Result<(), Failure> {
        let own = name_of(key, &self.me);
        for object in self.list(LABEL_NAME, &label(&key.name)).await? {
            let labels = &object["metadata"]["labels"];
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let is_of_it = labels[LABEL_NAME] == label(&key.name).as_str()
                && labels[LABEL_NAMESPACE] == label(&key.namespace).as_str();
            if is_of_it && name != own {
                self.delete(name).await?;
            }
        }
        Ok(())
    }

    async fn list(&self, label: &str, value: &str) -> Result<Vec<Value>, Failure> {
        let params = ListParams::default().labels(&format!("{label}={value}"));
        let list = self.request.list(&params).map_err(Error::BuildRequest)?;
        let text = timeout(TIMEOUT, self.client.request_text(list)).await;
        let text = text.map_err(|late| Failure::Later(late.to_string()))??;
        let list: Value = serde_json::from_str(&text).map_err(Error::SerdeError)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    async fn delete(&self, name: &str) -> Result<(), Failure> {
        let delete = self.request.delete(name, &DeleteParams::default());
        match self.send(delete.map_err(Error::BuildRequest)?).await {
            // Gone already.
            Err(Error::Api(status)) if status.code == 404 => Ok(()),
            sent => Ok(sent?),
        }
    }

    async fn send(&self, request: HttpRequest<Vec<u8>>) -> kube::Result<()> {
        match timeout(TIMEOUT, version_after(&self.client, request)).await {
            Ok(sent) => sent.map(drop),
            Err(late) => Err(Error::Service(Box::new(late))),
        }
    }
}

/// The same name for a Service and a node each time: who starts again finds its own.
fn name_of(key: &ServiceKey, node: &str) -> String {
    let digest = Sha256::digest(format!("{key}@{node}").as_bytes());
    let digest: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("l2-{digest}")
}

/// As the value of a label: longer names are cut.
fn label(text: &str) -> String {
    let end = text.floor_char_boundary(LONGEST_LABEL);
    text[..end]
        .trim_end_matches(|end: char| !end.is_ascii_alphanumeric())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use ferrolb_kube::scripted::{ApiServer, Fault};
    use tokio::time::Instant;

    use super::*;

    const PATH: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/servicel2statuses";

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("shop", name)
    }

    fn keys(names: &[&str]) -> BTreeSet<ServiceKey> {
        names.iter().map(|name| key(name)).collect()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 64, last])
    }

    async fn speaker(server: &ApiServer, node: &str) -> L2Statuses {
        let client = server.client().await.unwrap();
        L2Statuses::spawn(client, "metallb-system", node.to_owned(), Some("pod/uid-1"))
    }

    /// Until the statuses are these: node, Service and links.
    async fn until(server: &ApiServer, wanted: &[(&str, &str, &str)]) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let all = server.all("servicel2statuses");
            let mut is: Vec<_> = all
                .iter()
                .map(|object| {
                    let status = &object["status"];
                    let links = status["interfaces"].as_array().cloned().unwrap_or_default();
                    let links: Vec<_> = links
                        .iter()
                        .map(|link| link["name"].as_str().unwrap_or_default().to_owned())
                        .collect();
                    (
                        status["node"].as_str().unwrap_or_default().to_owned(),
                        status["serviceName"]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned(),
                        links.join(","),
                    )
                })
                .collect();
            is.sort();
            let wanted = wanted.iter().map(|(node, service, links)| {
                (
                    (*node).to_owned(),
                    (*service).to_owned(),
                    (*links).to_owned(),
                )
            });
            if is == wanted.collect::<Vec<_>>() {
                return;
            }
            assert!(Instant::now() < deadline, "{is:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// How often they have been asked for, once nobody asks any more: one of the waits may be lost to a stop.
    async fn asked(server: &ApiServer) -> usize {
        let (mut before, mut same) = (0, 0);
        loop {
            let asked = server.asked("servicel2statuses").len();
            same = if asked == before { same + 1 } else { 0 };
            if same == 2 {
                return asked;
            }
            before = asked;
            sleep(Duration::from_millis(300)).await;
        }
    }

    #[tokio::test]
    async fn the_node_that_announces_is_told_and_nothing_is_written_twice() {
        let server = ApiServer::start().await.unwrap();
        let n1 = speaker(&server, "n1").await;
        let none = BTreeSet::new();
        let eth0: BTreeSet<_> = ["eth0".to_owned()].into();
        n1.set(address(1), &keys(&["web", "api"]), &none);
        until(&server, &[("n1", "api", ""), ("n1", "web", "")]).await;
        let object = &server.all("servicel2statuses")[0];
        assert_eq!(object["metadata"]["labels"][LABEL_NODE], "n1");
        assert_eq!(object["metadata"]["labels"][LABEL_NAMESPACE], "shop");
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid-1");
        let before = asked(&server).await;
        // The same again, and the second address of a Service that has a status.
        n1.set(address(1), &keys(&["web", "api"]), &none);
        n1.set(address(2), &keys(&["web"]), &none);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(asked(&server).await, before);
        n1.set(address(1), &keys(&["web"]), &eth0);
        until(&server, &[("n1", "web", "eth0")]).await;
        // It moves: whoever has it now deletes what the other one wrote, even if that is dead.
        let n2 = speaker(&server, "n2").await;
        n2.set(address(1), &keys(&["web"]), &none);
        until(&server, &[("n2", "web", "")]).await;
        n2.set(address(1), &BTreeSet::new(), &none);
        until(&server, &[]).await;
    }

    #[tokio::test]
    async fn what_an_earlier_process_of_the_node_has_left_is_removed() {
        let server = ApiServer::start().await.unwrap();
        let of = |node: &str| json!({ "metadata": { "labels": { LABEL_NODE: node } }, "status": { "node": node } });
        server.set(&format!("{PATH}/l2-old"), of("n1"));
        server.set(&format!("{PATH}/l2-other"), of("n2"));
        let _n1 = speaker(&server, "n1").await;
        until(&server, &[("n2", "", "")]).await;
    }

    #[tokio::test]
    async fn without_the_right_nothing_more_is_asked() {
        let server = ApiServer::start().await.unwrap();
        server.script("servicel2statuses", Fault::Refused(403));
        let n1 = speaker(&server, "n1").await;
        n1.set(address(1), &keys(&["web"]), &BTreeSet::new());
        while server.asked("servicel2statuses").is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
        n1.set(address(2), &keys(&["api"]), &BTreeSet::new());
        sleep(Duration::from_millis(300)).await;
        assert_eq!(server.asked("servicel2statuses").len(), 1);
        assert!(server.all("servicel2statuses").is_empty());
    }

    #[tokio::test]
    async fn off_it_asks_nothing() {
        let server = ApiServer::start().await.unwrap();
        let off = L2Statuses::default();
        off.set(address(1), &keys(&["web"]), &BTreeSet::new());
        assert!(server.asked("").is_empty());
    }

    #[test]
    fn names_are_the_same_each_time_and_labels_are_no_longer_than_they_may_be() {
        assert_eq!(name_of(&key("web"), "n1"), name_of(&key("web"), "n1"));
        assert_ne!(name_of(&key("web"), "n1"), name_of(&key("web"), "n2"));
        assert_eq!(label("n1"), "n1");
        let long = format!("{}.{}", "a".repeat(62), "b".repeat(60));
        assert_eq!(label(&long), "a".repeat(62));
    }
}
