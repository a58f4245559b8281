//! Bootstrap addresses.

use super::section::shown;

/// What an address is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// It can be dialled.
    Usable,
    /// It was masked for publication, such as `47.xxx.xxx.xxx:9092`.
    Masked,
}

/// Checks `host:port`; gives the address without a `PLAINTEXT://` before it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(text: &str) -> Result<(String, Address), String> {
    let address = text.trim();
    let address = match address.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("PLAINTEXT") => rest,
        Some(_) => return Err(format!("{} is not host:port", shown(address))),
        None => address,
    };
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(format!("{} has no port; write host:port, such as {address}:9092", shown(address)));
    };
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if !is_port {
        return Err(format!("{} has no port from 1 to 65535", shown(address)));
    }
    let bare = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(bare) => bare,
        None if host.contains(':') => return Err(format!("{}: an IPv6 address stands in brackets", shown(address))),
        None => host,
    };
    if is_masked(bare) {
        return Ok((address.to_owned(), Address::Masked));
    }
    if bare.is_empty() || !bare.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%')) {
        return Err(format!("{} is not host:port", shown(address)));
    }
    Ok((address.to_owned(), Address::Usable))
}

/// Four labels like an IP address, some of them crossed out; or any star.
fn is_masked(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let is_cross = |label: &&str| !label.is_empty() && label.chars().all(|c| matches!(c, 'x' | 'X'));
    let is_number = |label: &&str| label.parse::<u8>().is_ok();
    let like_ip = labels.len() == 4 && labels.iter().all(|label| is_cross(label) || is_number(label));
    host.contains('*') || (like_ip && labels.iter().any(is_cross))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_addresses() {
        for text in ["a:1", "emr-header-1:9092", "127.0.0.1:65535", "[::1]:9092", "x.example.com:1", "xxx.com:9092"] {
            assert_eq!(check(text), Ok((text.to_owned(), Address::Usable)), "{text}");
        }
        assert_eq!(check(" PLAINTEXT://a:1 "), Ok(("a:1".to_owned(), Address::Usable)));
    }

    #[test]
    fn masked_addresses() {
        for text in ["47.xxx.xxx.xxx:9092", "x.x.x.x:1", "10.0.0.X:1", "10.*.*.*:9092"] {
            assert_eq!(check(text), Ok((text.to_owned(), Address::Masked)), "{text}");
        }
    }

    #[test]
    fn addresses_that_are_none() {
        for text in
            ["", "a", "a:", "a:0", "a:65536", "a:9o92", ":9092", "a b:1", "SSL://a:1", "::1:9092", "a:+1", "u@a:1"]
        {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
