//! What is asked of the cluster.

use ferrolb_core::config::ObjectName;
use ferrolb_core::names::LABEL_SERVICE_NAME;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};

use super::rules::{asked_by_conversion, asked_by_webhook};
use super::{GROUP, Leftovers};
use crate::output::causes;

/// Asks for all of it; `unread` gets what could not be read, and why.
pub(in crate::answers::check) async fn gather(
    client: &Client,
    unread: &mut Vec<String>,
) -> Leftovers {
    let all = ListParams::default();
    let mut keep = |what: &str, error: kube::Error| {
        unread.push(format!("{what}: {}", causes(&error.into())));
    };
    let mut leftovers = Leftovers::default();
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    match api.list(&all).await {
        Ok(list) => {
            let mut found = list.items;
            found.retain(|one| asked_by_webhook(one).next().is_some());
            leftovers.webhooks = Some(found);
        }
        Err(error) => keep("ValidatingWebhookConfigurations", error),
    }
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    match api.list(&all).await {
        Ok(list) => {
            let mut found = list.items;
            found.retain(|one| one.spec.group == GROUP);
            leftovers.definitions = Some(found);
        }
        Err(error) => keep("CustomResourceDefinitions", error),
    }
    let webhooks = leftovers.webhooks.iter().flatten();
    let by_webhooks = webhooks.flat_map(|one| asked_by_webhook(one).map(|(service, _)| service));
    let definitions = leftovers.definitions.iter().flatten();
    let asked: Vec<_> = by_webhooks
        .chain(definitions.filter_map(asked_by_conversion))
        .collect();
    for service in asked {
        match answers(client, &service.0, &service.1).await {
            Ok(answers) => {
                leftovers.answering.insert(service, answers);
            }
            Err(error) => keep(&format!("Service {}/{}", service.0, service.1), error),
        }
    }
    let pools = ApiResource {
        group: GROUP.to_owned(),
        version: "v1beta1".to_owned(),
        api_version: format!("{GROUP}/v1beta1"),
        kind: "IPAddressPool".to_owned(),
        plural: "ipaddresspools".to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &pools);
    match api.list(&all).await {
        Ok(list) => {
            let name = |pool: &DynamicObject| ObjectName {
                namespace: pool.namespace(),
                name: pool.name_any(),
            };
            leftovers.pools = list.items.iter().map(name).collect();
        }
        // The cluster does not know the kind.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => keep("IPAddressPools", error),
    }
    leftovers
}

/// Whether the Service is there and has a pod that is ready.
async fn answers(client: &Client, namespace: &str, name: &str) -> kube::Result<bool> {
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    if api.get_opt(name).await?.is_none() {
        return Ok(false);
    }
    let of_service = ListParams::default().labels(&format!("{LABEL_SERVICE_NAME}={name}"));
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let slices = api.list(&of_service).await?.items;
    let mut endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    // Without a word it is ready.
    Ok(endpoints.any(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|all| all.ready).unwrap_or(true)
    }))
}
