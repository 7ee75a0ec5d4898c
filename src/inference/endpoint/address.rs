//! Where an endpoint is.

use http::Uri;

use super::EndpointError;

/// What is asked for under the place where the API begins.
const CHAT: &str = "/chat/completions";

/// The address of an endpoint, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) is_encrypted: bool,
    /// Name or IP address, without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as the address has them.
    pub(super) authority: String,
    /// Path of chat completions.
    pub(super) path: String,
}

impl Address {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`EndpointError::Url`], which does not quote it.
    pub(super) fn parse(url: &str) -> Result<Self, EndpointError> {
        let uri: Uri =
            url.parse().map_err(|_| EndpointError::Url("must be an address as in http://127.0.0.1:8000/v1"))?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(EndpointError::Url("must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or(EndpointError::Url("must have a host"))?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Url(
                "must have no user name and no password; endpoint.api_key_file names a key",
            ));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(EndpointError::Url("must end with a path, without ? and #"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(EndpointError::Url("must have a host"));
        }
        Ok(Self {
            is_encrypted,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: format!("{}{CHAT}", uri.path().trim_end_matches('/')),
        })
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        for (url, origin, host, port, path) in [
            ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000", "127.0.0.1", 8000, "/v1/chat/completions"),
            ("https://llm.example/v1/", "https://llm.example", "llm.example", 443, "/v1/chat/completions"),
            ("http://[::1]:80", "http://[::1]:80", "::1", 80, "/chat/completions"),
            ("http://llm", "http://llm", "llm", 80, "/chat/completions"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.origin().as_str(), address.host.as_str()), (origin, host), "{url}");
            assert_eq!((address.port, address.path.as_str()), (port, path), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for (url, part) in [
            ("ftp://secret:1", "http:// or https://"),
            ("secret", "http:// or https://"),
            ("http://me:secret@llm:1/v1", "endpoint.api_key_file"),
            ("http://llm/v1?key=secret", "without ? and #"),
            ("http://llm/v1#secret", "without ? and #"),
            ("http:// secret", "as in http://127.0.0.1:8000/v1"),
        ] {
            let told = Address::parse(url).unwrap_err().to_string();
            assert!(told.starts_with("endpoint.url ") && told.contains(part), "{url}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
