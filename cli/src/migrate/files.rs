//! The configuration of MetalLB, or of another load balancer, out of files.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use ferrolb_core::names::DEFAULT_NAMESPACE;
use serde::Deserialize;
use serde_yaml::Value;

use super::metallb::{Found, Objects, kind};
use super::{cilium, kube_vip, purelb};

/// What the files hold, of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// MetalLB's.
    objects: Vec<Value>,
    kube_vip: Vec<Value>,
    cilium: Vec<Value>,
    purelb: Vec<Value>,
}

/// What is converted.
#[derive(Debug)]
pub(super) enum Source {
    /// A ConfigMap or objects.
    MetalLb(Found),
    /// Another load balancer's, in the form of MetalLB's objects.
    Other(Objects),
}

impl Files {
    /// Takes every document of a file, and the items of lists.
    pub(super) fn take(&mut self, text: &str) -> anyhow::Result<()> {
        for document in serde_yaml::Deserializer::from_str(text) {
            self.take_value(Value::deserialize(document).context("it is not YAML")?);
        }
        Ok(())
    }

    fn take_value(&mut self, mut value: Value) {
        if let Some(items) = value.get_mut("items").and_then(Value::as_sequence_mut) {
            for item in std::mem::take(items) {
                self.take_value(item);
            }
        } else if kind(&value).is_some() {
            self.objects.push(value);
        } else if kube_vip::is_one(&value) {
            self.kube_vip.push(value);
        } else if is_of(&value, cilium::GROUP, &cilium::KINDS) {
            self.cilium.push(value);
        } else if is_of(&value, purelb::GROUP, &purelb::KINDS) {
            self.purelb.push(value);
        }
    }

    /// What is to be converted of it, and in a sentence each what is not, or is not the same afterwards.
    pub(super) fn source(self, from: Option<&str>) -> anyhow::Result<(Source, Vec<String>)> {
        let all = [
            ("MetalLB", self.objects.as_slice()),
            ("kube-vip", self.kube_vip.as_slice()),
            ("Cilium", self.cilium.as_slice()),
            ("PureLB", self.purelb.as_slice()),
        ];
        let there: Vec<_> = all.iter().filter(|(_, found)| !found.is_empty()).collect();
        let mut lost = Vec::new();
        let objects = match there[..] {
            [] | [("MetalLB", _)] => {
                let (found, passed_over) = self.of(from)?;
                return Ok((Source::MetalLb(found), passed_over));
            }
            [("kube-vip", [one])] => kube_vip::objects(one, &mut lost),
            [("kube-vip", maps)] => bail!("{} ConfigMaps of kube-vip: give one", maps.len()),
            [("Cilium", found)] => cilium::objects(found, &mut lost)?,
            [(_, found)] => purelb::objects(found, &mut lost)?,
            [..] => {
                let names: Vec<_> = there.iter().map(|(name, _)| *name).collect();
                bail!(
                    "the files are of several load balancers ({}): give those of one",
                    names.join(", ")
                );
            }
        };
        Ok((Source::Other(objects), lost))
    }

    /// What MetalLB in namespace `from` reads of it, and what it does not, in a sentence each. MetalLB reads
    /// no other namespace than its own. An object that names none goes where it is applied.
    fn of(self, from: Option<&str>) -> anyhow::Result<(Found, Vec<String>)> {
        let from = match from {
            Some(from) => Some(from.to_owned()),
            None => self.only_namespace()?,
        };
        let mut found = Found::default();
        let mut passed_over = Vec::new();
        for object in self.objects {
            let elsewhere = namespace(&object).filter(|one| Some(*one) != from.as_deref());
            if let (Some(elsewhere), Some(kind)) = (elsewhere, kind(&object)) {
                let name = metadata(&object, "name").unwrap_or("without a name");
                passed_over.push(format!(
                    "{kind} {name} is skipped: it is in namespace {elsewhere}, and MetalLB reads \
                     only {} (use --from NAMESPACE to choose another)",
                    from.as_deref().unwrap_or_default()
                ));
            } else {
                found.take(object)?;
            }
        }
        Ok((found, passed_over))
    }

    /// The namespace that MetalLB must be in.
    fn only_namespace(&self) -> anyhow::Result<Option<String>> {
        let named: BTreeSet<_> = self.objects.iter().filter_map(namespace).collect();
        if named.len() > 1 && !named.contains(DEFAULT_NAMESPACE) {
            let named: Vec<_> = named.into_iter().collect();
            bail!(
                "there are objects in the namespaces {}: use --from to say which of them is \
                 MetalLB's",
                named.join(", ")
            );
        }
        let usual = named.get(DEFAULT_NAMESPACE).copied();
        Ok(usual.or_else(|| named.first().copied()).map(str::to_owned))
    }
}

fn is_of(value: &Value, group: &str, kinds: &[&str]) -> bool {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let is_group = text("apiVersion").split('/').next() == Some(group);
    is_group && kinds.contains(&text("kind"))
}

/// Where the object says that it belongs.
fn namespace(object: &Value) -> Option<&str> {
    metadata(object, "namespace")
}

fn metadata<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}
