use super::*;

fn service(manager: &str, fields: serde_json::Value, ingress: serde_json::Value) -> Service {
    serde_json::from_value(json!({
        "metadata": { "name": "web", "managedFields": [
            { "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:spec": {} } },
            { "manager": manager, "operation": "Update", "subresource": "status", "fieldsV1": fields },
        ] },
        "status": { "loadBalancer": { "ingress": ingress } },
    }))
    .unwrap()
}

#[test]
fn an_object_that_somebody_else_has_written_too_is_not_ours() {
    let written_by = |managers: &[&str]| -> ConfigMap {
        let fields: Vec<_> = managers
            .iter()
            .map(|manager| json!({ "manager": manager }))
            .collect();
        serde_json::from_value(json!({ "metadata": { "managedFields": fields } })).unwrap()
    };
    assert!(is_made_by_us(&written_by(&[FIELD_MANAGER])));
    assert!(is_made_by_us(&written_by(&[
        SPEAKER_COMPONENT,
        FIELD_MANAGER
    ])));
    assert!(!is_made_by_us(&written_by(&["kubectl", FIELD_MANAGER])));
    assert!(!is_made_by_us(&written_by(&["helm"])));
    assert!(!is_made_by_us(&written_by(&[])));
}

#[test]
fn only_addresses_that_our_controller_wrote_are_ours() {
    let wrote = json!({ "f:status": { "f:loadBalancer": { "f:ingress": {} } } });
    let address = json!([{ "ip": "192.168.64.4" }]);
    assert!(has_our_addresses(&service(
        FIELD_MANAGER,
        wrote.clone(),
        address.clone()
    )));
    // MetalLB's controller; a condition of ours; a status that is empty already.
    assert!(!has_our_addresses(&service(
        "controller",
        wrote.clone(),
        address.clone()
    )));
    let condition = json!({ "f:status": { "f:conditions": {} } });
    assert!(!has_our_addresses(&service(
        FIELD_MANAGER,
        condition,
        address
    )));
    assert!(!has_our_addresses(&service(
        FIELD_MANAGER,
        wrote,
        json!([])
    )));
}
