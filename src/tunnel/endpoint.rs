//! Where a service is: `https://service.cn-hangzhou.maxcompute.aliyun.com/api`.

use std::fmt;

/// A base URL, taken apart. `Display` prints it without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    scheme: Scheme,
    /// `host` or `host:port`, in lower case.
    authority: String,
    /// Empty, or `/api` without a slash at the end.
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Endpoint {
    /// Reads a URL. Without a scheme, `scheme_default` is taken; without that the text is refused.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &str, scheme_default: Option<Scheme>) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = match (text.split_once("://"), scheme_default) {
            (Some((scheme, rest)), _) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            (Some((scheme, rest)), _) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            (Some((scheme, _)), _) => return Err(format!("scheme \"{}\" is neither http nor https", shown(scheme))),
            (None, Some(scheme)) => (scheme, text),
            (None, None) => return Err(format!("\"{}\" does not begin with http:// or https://", shown(text))),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let host_ok = authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        let path_ok = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/%".contains(&b));
        if authority.is_empty() || authority.starts_with(':') || !host_ok {
            return Err(format!("\"{}\" has no usable host", shown(text)));
        }
        if !path_ok {
            return Err(format!("\"{}\" has more than a scheme, a host and a path", shown(text)));
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority: authority.to_ascii_lowercase(), path })
    }

    pub(super) const fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// Someone may paste a URL with a password in it.
fn shown(text: &str) -> String {
    let text = super::text::cut(text, 100);
    let bare = text.rsplit_once('@').map_or(text, |(_, host)| host);
    bare.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parts_come_back() {
        for (text, wanted) in [
            ("https://Service.cn.example.com/api/", "https://service.cn.example.com/api"),
            (" HTTP://127.0.0.1:8080 ", "http://127.0.0.1:8080"),
            ("http://[::1]:80/a/b", "http://[::1]:80/a/b"),
        ] {
            assert_eq!(Endpoint::parse(text, None).unwrap().to_string(), wanted);
        }
        let bare = Endpoint::parse("dt.example.com:443\n", Some(Scheme::Https)).unwrap();
        assert_eq!(bare.to_string(), "https://dt.example.com:443");
        assert_eq!(bare.scheme(), Scheme::Https);
    }

    #[test]
    fn anything_else_is_refused_without_its_password() {
        for text in ["", "example.com", "ftp://x", "http://", "http:///api", "http://:80", "http://a b", "http://h/p?q"]
        {
            assert!(Endpoint::parse(text, None).is_err(), "{text}");
        }
        assert!(Endpoint::parse("<html>", Some(Scheme::Http)).is_err());
        let error = Endpoint::parse("http://user:hunter2@host/api", None).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
