//! `[[listen]]`: where connections are accepted, and with which certificates.

use super::addresses;
use super::reader::{Key, Section, Spotted, Title, key, table};
use super::value::At;
use crate::listen::settings::ListenSettings;
use crate::tls::settings::{CertificateSettings, ClientsSettings, TlsSettings};

pub(super) static KEYS: &[Key] = &[
    key("addr"),
    table("tls", TLS_KEYS),
    table("client_certificates", CLIENT_KEYS),
    key("proxy_protocol"),
    key("http2"),
];

static TLS_KEYS: &[Key] = &[key("cert"), key("key")];

static CLIENT_KEYS: &[Key] = &[key("ca"), key("optional")];

pub(super) fn read(at: At<'_>) -> Option<Spotted<ListenSettings>> {
    let section = at.titled(Title::Section("[[listen]]"), KEYS)?;
    let addr = section.required("addr", |at| {
        let value = at.parse(addresses::address)?;
        let place = at.place();
        Some(Spotted { value, place })
    });
    let tls = section.get("tls", |at| at.one_or_more(certificate));
    let clients = section.get("client_certificates", clients);
    if let Some(at) = section.at("client_certificates")
        && section.at("tls").is_none()
    {
        at.bad_key::<()>("\"client_certificates\" needs `tls`: without it clients show nothing");
    }
    let proxy_protocol = section.or("proxy_protocol", false, At::boolean);
    let http2 = section.or("http2", true, At::boolean);
    let addr = addr?;
    Some(Spotted {
        value: ListenSettings {
            addr: addr.value,
            tls: tls.map(|certificates| TlsSettings {
                certificates,
                clients,
            }),
            proxy_protocol,
            http2,
        },
        place: addr.place,
    })
}

fn certificate(at: At<'_>) -> Option<CertificateSettings> {
    let section: Section<'_> = at.section(TLS_KEYS)?;
    let cert = section.required("cert", At::path);
    let key = section.required("key", At::path);
    Some(CertificateSettings {
        cert: cert?,
        key: key?,
    })
}

fn clients(at: At<'_>) -> Option<ClientsSettings> {
    let section: Section<'_> = at.section(CLIENT_KEYS)?;
    let ca = section.required("ca", At::path);
    let optional = section.or("optional", false, At::boolean);
    Some(ClientsSettings { ca: ca?, optional })
}
