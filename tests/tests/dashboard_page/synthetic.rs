//! A snapshot of a cluster larger than a lab's.

use anyhow::{Context, Result};
use serde_json::{Value, json};

const BEGIN: &str = "<script type=\"application/json\" id=\"picture\">";
const END: &str = "</script>";

/// The snapshot with `nodes` nodes, of which each announces `each` addresses; all of them like its own first.
pub(crate) fn enlarged(snapshot: &str, nodes: usize, each: usize) -> Result<String> {
    let (head, behind) = snapshot.split_once(BEGIN).context("no data")?;
    let (data, tail) = behind.split_once(END).context("no end")?;
    let mut view: Value = serde_json::from_str(data)?;
    let status = &mut view["status"];
    let (node, address) = (status["nodes"][0].clone(), status["addresses"][0].clone());
    let mut all = (Vec::new(), Vec::new());
    for number in 0..nodes {
        let name = format!("worker-{number}");
        let mut node = node.clone();
        node["name"] = json!(name);
        node["addresses"] = json!(each);
        all.0.push(node);
        for place in 0..each {
            let count = number * each + place;
            let mut address = address.clone();
            address["address"] = json!(format!("10.7.{}.{}", count / 250, count % 250 + 1));
            address["services"] = json!([format!("team-{}/web-{count}", number % 7)]);
            address["nodes"] = json!([name]);
            address["state"] = json!("announced");
            address["reason"] = Value::Null;
            all.1.push(address);
        }
    }
    status["services"] = json!(all.1.len());
    status["nodes"] = Value::Array(all.0);
    status["addresses"] = Value::Array(all.1);
    let data = view.to_string().replace('<', "\\u003c");
    Ok(format!("{head}{BEGIN}{data}{END}{tail}"))
}
