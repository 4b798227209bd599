//! MetalLB's objects in a cluster.

use anyhow::Context;
use ferrolb_core::config::objects::{Kind, ObjectView};
use ferrolb_core::k8s::object_view;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, TypeMeta};

use crate::cluster::{Cluster, pages};

/// The kind, as the API server knows it in that version.
pub(crate) fn resource(kind: Kind, version: &str) -> ApiResource {
    ApiResource {
        group: Kind::GROUP.to_owned(),
        version: version.to_owned(),
        api_version: format!("{}/{version}", Kind::GROUP),
        kind: kind.as_str().to_owned(),
        plural: kind.plural().to_owned(),
    }
}

impl Cluster {
    /// Those of a kind, with the version that they were read in; `None` where the cluster does not know the
    /// kind.
    pub(crate) async fn objects_of(
        &self,
        namespace: &str,
        kind: Kind,
    ) -> anyhow::Result<Option<(&'static str, Vec<DynamicObject>)>> {
        for version in kind.versions() {
            let resource = resource(kind, version);
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), namespace, &resource);
            // Items of a list do not say what they are.
            let typed = |mut object: DynamicObject| {
                object.types = Some(TypeMeta {
                    api_version: resource.api_version.clone(),
                    kind: resource.kind.clone(),
                });
                Some(object)
            };
            match pages(&api, kind.plural(), typed).await {
                Ok(listed) => return Ok(Some((version, listed))),
                Err(error) if is_unknown(&error) => {}
                Err(error) => return Err(error).with_context(|| format!("in {namespace}")),
            }
        }
        Ok(None)
    }

    /// All that configure, as the daemons read them; whether the cluster has IPAddressPools at all.
    pub(crate) async fn views_of_objects(
        &self,
        namespace: &str,
    ) -> anyhow::Result<(Vec<ObjectView>, bool)> {
        let mut views = Vec::new();
        let mut has_pools = false;
        for kind in Kind::ALL {
            let Some((version, listed)) = self.objects_of(namespace, kind).await? else {
                continue;
            };
            has_pools |= kind == Kind::IpAddressPool;
            let listed = listed.iter();
            views.extend(
                listed.map(|one| object_view(kind, version, &one.metadata, &one.data["spec"])),
            );
        }
        Ok((views, has_pools))
    }
}

/// Whether the API server has no such kind.
pub(crate) fn is_unknown(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<kube::Error>();
    matches!(error, Some(kube::Error::Api(status)) if status.code == 404)
}
