//! Where the service may listen: nobody is served in the open by oversight.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Config, Reach};

/// An address that others can reach, under settings that are safe on this machine alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExposureError {
    /// Anybody who reaches the address could ask.
    #[error(
        "server.listen = {address}: others can reach this address, and nobody is asked for a key. Make one with `otklik keys add`, or \
         trust tokens with callers.jwt_keys_file; or listen on 127.0.0.1. To serve whoever comes, set callers.without_keys=anywhere"
    )]
    WithoutKeys {
        /// The address.
        address: SocketAddr,
    },
    /// Whoever is on the way could read.
    #[error(
        "server.listen = {address}: others can reach this address, and what they say would cross the network in plain text. Set \
         tls.certificate and tls.key, or listen on 127.0.0.1. Where something else encrypts, set server.plain_text=anywhere"
    )]
    PlainText {
        /// The address.
        address: SocketAddr,
    },
}

/// Checks that the service may listen on an address; `asks` says whether callers are asked for keys.
///
/// The address for operators is not looked at: it is set by hand, and tells numbers and no texts.
///
/// # Errors
/// [`ExposureError`].
pub fn check_exposure(config: &Config, address: SocketAddr, asks: bool) -> Result<(), ExposureError> {
    if is_loopback(address.ip()) {
        return Ok(());
    }
    if !asks && config.callers.without_keys == Reach::Loopback {
        return Err(ExposureError::WithoutKeys { address });
    }
    if config.tls.certificate.is_none() && config.server.plain_text == Reach::Loopback {
        return Err(ExposureError::PlainText { address });
    }
    Ok(())
}

/// An address of IPv4 may be written as one of IPv6.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_served_only_with_keys_and_encrypted_unless_asked_for_by_name() {
        let (keys, text) = ("callers.without_keys=anywhere", "server.plain_text=anywhere");
        for (address, asks, certificate, without_keys, plain_text, refused) in [
            ("127.0.0.1:1", false, false, false, false, None),
            ("127.1.2.3:1", false, false, false, false, None),
            ("[::1]:1", false, false, false, false, None),
            ("[::ffff:127.0.0.1]:1", false, false, false, false, None),
            ("0.0.0.0:1", false, false, false, false, Some(keys)),
            ("0.0.0.0:1", false, true, false, false, Some(keys)),
            ("[::]:1", false, true, false, true, Some(keys)),
            ("10.0.0.1:1", false, false, true, false, Some(text)),
            ("10.0.0.1:1", true, false, false, false, Some(text)),
            ("10.0.0.1:1", true, true, false, false, None),
            ("10.0.0.1:1", true, false, false, true, None),
            ("10.0.0.1:1", false, false, true, true, None),
        ] {
            let mut config = Config::default();
            config.tls.certificate = certificate.then(|| "certificate.pem".into());
            config.callers.without_keys = if without_keys { Reach::Anywhere } else { Reach::Loopback };
            config.server.plain_text = if plain_text { Reach::Anywhere } else { Reach::Loopback };
            let checked = check_exposure(&config, address.parse().unwrap(), asks);
            match (checked, refused) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => {
                    let told = error.to_string();
                    assert!(told.contains(part) && told.contains(address), "{told}");
                }
                (checked, refused) => panic!("{address}: {checked:?}, not {refused:?}"),
            }
        }
    }
}
