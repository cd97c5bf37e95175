//! Whether there is something at a URL, without taking it.

use url::Url;

use super::{FetchError, Transfer, refused};

impl Transfer {
    /// Whether a server offers something at a URL: its first byte is asked for, and nothing is read. Answers how long
    /// it is, where the server says so.
    pub async fn probe(&self, url: &Url) -> Result<Option<u64>, FetchError> {
        if url.scheme() == "file" {
            let path =
                url.to_file_path().map_err(|()| FetchError::NotLocal { url: Box::new(url.clone()) })?;
            let looked = std::fs::metadata(&path);
            return looked
                .map(|metadata| Some(metadata.len()))
                .map_err(|source| FetchError::Local { path, source });
        }
        let response = self.send(url, Some("bytes=0-0".to_owned())).await?;
        let length = match response.status().as_u16() {
            200 => response.content_length(),
            // "bytes 0-0/123"
            206 => response
                .headers()
                .get("content-range")
                .and_then(|range| range.to_str().ok()?.rsplit_once('/')?.1.parse().ok()),
            _ => return Err(refused(url, &response)),
        };
        match length.filter(|length| *length > self.limits.max_bytes) {
            Some(_) => Err(FetchError::TooLarge { url: Box::new(url.clone()), limit: self.limits.max_bytes }),
            None => Ok(length),
        }
    }
}
