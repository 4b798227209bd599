//! The cluster's certificates: one authority, and a key with a certificate for everyone who talks
//! to the API server or is talked to by it.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::net::Host;

/// The authority of one lab, in a directory of its own. All keys are P-256: quick to make.
#[derive(Clone, Debug)]
pub struct Pki {
    dir: PathBuf,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// PEM.
    pub cert: PathBuf,
    /// PEM, PKCS #8.
    pub key: PathBuf,
}

impl Pki {
    /// Makes a new authority and the key pair that signs the tokens of service accounts.
    pub fn create(dir: PathBuf) -> Result<Self> {
        let pki = Self { dir };
        let key = KeyPair::generate().context("cannot make a key")?;
        let cert = authority()
            .self_signed(&key)
            .context("cannot sign the authority's certificate")?;
        write(&pki.ca(), &cert.pem())?;
        write(&pki.dir.join("ca.key"), &key.serialize_pem())?;

        let accounts = KeyPair::generate().context("cannot make a key")?;
        write(&pki.accounts_key(), &accounts.serialize_pem())?;
        write(&pki.accounts_public_key(), &accounts.public_key_pem())?;
        Ok(pki)
    }

    /// The authority that [`Pki::create`] made in this directory.
    pub fn open(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Signs the tokens of service accounts.
    pub fn accounts_key(&self) -> PathBuf {
        self.dir.join("service-accounts.key")
    }

    /// Checks the tokens of service accounts.
    pub fn accounts_public_key(&self) -> PathBuf {
        self.dir.join("service-accounts.pub")
    }

    /// A certificate by which `user`, a member of `group`, is known to the API server. Of each user there is
    /// one: who has it may read it again at any time.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Certificate> {
        let file = user.replace(':', "-");
        let issued = self.certificate(&file);
        if issued.key.exists() {
            return Ok(issued);
        }
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        self.issue(&file, params)
    }

    /// A certificate by which a server on `host` is known, also under further names and addresses.
    pub fn server(
        &self,
        file: &str,
        host: &Host,
        names: &[&str],
        addresses: &[IpAddr],
    ) -> Result<Certificate> {
        let mut all_names = vec![host.name.clone(), "localhost".to_owned()];
        all_names.extend(names.iter().map(|name| (*name).to_owned()));
        let mut params = CertificateParams::new(all_names).context("bad name for a certificate")?;
        let own = [
            host.ipv4.into(),
            host.ipv6.into(),
            IpAddr::from([127, 0, 0, 1]),
        ];
        params
            .subject_alt_names
            .extend(own.iter().chain(addresses).copied().map(SanType::IpAddress));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, file);
        self.issue(file, params)
    }

    fn certificate(&self, file: &str) -> Certificate {
        Certificate {
            cert: self.dir.join(format!("{file}.crt")),
            key: self.dir.join(format!("{file}.key")),
        }
    }

    fn issue(&self, file: &str, mut params: CertificateParams) -> Result<Certificate> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let ca_key = fs::read_to_string(self.dir.join("ca.key")).context("cannot read its key")?;
        let ca_key = KeyPair::from_pem(&ca_key).context("cannot parse the authority's key")?;
        let issuer = Issuer::new(authority(), ca_key);
        let key = KeyPair::generate().context("cannot make a key")?;
        let cert = params
            .signed_by(&key, &issuer)
            .with_context(|| format!("cannot sign the certificate {file}"))?;
        let issued = self.certificate(file);
        write(&issued.cert, &cert.pem())?;
        write(&issued.key, &key.serialize_pem())?;
        Ok(issued)
    }
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "lab");
    params
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Who a kubeconfig speaks as.
pub enum Identity {
    /// By certificate.
    Certificate(Certificate),
    /// By bearer token.
    Token(String),
}

/// Writes a kubeconfig for the API server on `server`.
pub fn write_kubeconfig(path: &Path, ca: &Path, server: &Host, who: &Identity) -> Result<()> {
    let user = match who {
        Identity::Certificate(Certificate { cert, key }) => serde_json::json!({
            "client-certificate": cert, "client-key": key,
        }),
        Identity::Token(token) => serde_json::json!({ "token": token }),
    };
    let url = format!("https://{}:{}", server.ipv4, crate::control_plane::API_PORT);
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "lab",
            "cluster": { "server": url, "certificate-authority": ca },
        }],
        "users": [{ "name": "user", "user": user }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "user" } }],
        "current-context": "lab",
    });
    // JSON is YAML.
    write(path, &format!("{config:#}\n"))
}
