//! `[[listen]]`: where connections are accepted, and with which certificates.

use super::addresses;
use super::reader::{Key, Section, Spotted, Title, key, table};
use super::value::At;
use crate::listen::settings::ListenSettings;
use crate::tls::settings::{CertificateSettings, TlsSettings};

pub(super) static KEYS: &[Key] = &[
    key("addr"),
    table("tls", TLS_KEYS),
    key("proxy_protocol"),
    key("http2"),
];

static TLS_KEYS: &[Key] = &[key("cert"), key("key")];

pub(super) fn read(at: At<'_>) -> Option<Spotted<ListenSettings>> {
    let section = at.titled(Title::Section("[[listen]]"), KEYS)?;
    let addr = section.required("addr", |at| {
        let value = at.parse(addresses::address)?;
        let place = at.place();
        Some(Spotted { value, place })
    });
    let tls = section.get("tls", |at| at.one_or_more(certificate));
    let proxy_protocol = section.or("proxy_protocol", false, At::boolean);
    let http2 = section.or("http2", true, At::boolean);
    let addr = addr?;
    Some(Spotted {
        value: ListenSettings {
            addr: addr.value,
            tls: tls.map(|certificates| TlsSettings { certificates }),
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
