//! Authorities and the certificates they issue.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use postroad::tls::{Identity, Trust};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

/// A day in the past, one in the future.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key.
pub struct Issued {
    pub chain: String,
    pub key: String,
}

/// What a certificate says.
pub struct Leaf(CertificateParams);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn trust(&self) -> Trust {
        Trust::from_pem(self.pem.as_bytes()).unwrap()
    }

    pub fn issue(&self, leaf: Leaf) -> Issued {
        let key = KeyPair::generate().unwrap();
        let chain = leaf.0.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { chain, key: key.serialize_pem() }
    }

    /// The identity of a node on this machine.
    pub fn identity(&self) -> Identity {
        self.issue(Leaf::local()).identity()
    }
}

impl Leaf {
    /// For what listens on 127.0.0.1.
    pub fn local() -> Self {
        Self::host("127.0.0.1")
    }

    /// For a host name or address.
    pub fn host(host: &str) -> Self {
        Self::named(
            host.parse::<IpAddr>()
                .map_or_else(|_| SanType::DnsName(host.try_into().unwrap()), SanType::IpAddress),
        )
    }

    /// For a node, whatever its address.
    pub fn node(name: &str) -> Self {
        Self::named(SanType::URI(format!("postroad:{name}").try_into().unwrap()))
    }

    fn named(name: SanType) -> Self {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(name);
        Self(params)
    }

    /// Valid from then until then.
    pub fn valid(mut self, from: SystemTime, until: SystemTime) -> Self {
        (self.0.not_before, self.0.not_after) = (from.into(), until.into());
        self
    }

    pub fn expired(self) -> Self {
        let now = SystemTime::now();
        self.valid(now - 2 * DAY, now - DAY)
    }

    pub fn early(self) -> Self {
        let now = SystemTime::now();
        self.valid(now + DAY, now + 2 * DAY)
    }

    /// An authority's own.
    pub fn of_authority(mut self) -> Self {
        self.0.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    pub fn self_signed(self) -> Issued {
        let key = KeyPair::generate().unwrap();
        Issued { chain: self.0.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }
}

impl Issued {
    pub fn identity(&self) -> Identity {
        Identity::from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// What pins it.
    pub fn sha256(&self) -> [u8; 32] {
        self.identity().status().certificate.sha256
    }
}
