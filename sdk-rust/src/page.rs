//! Lists: one page, or all of them as a stream.

use std::{collections::VecDeque, future::Future};

use futures_util::stream::{self, BoxStream, StreamExt as _};

use crate::Error;

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// What asks for the page after this one. `None`: this was the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn new(items: Vec<T>, next_page_token: String) -> Self {
        Self { items, next: Some(next_page_token).filter(|token| !token.is_empty()) }
    }
}

/// The items of a list, one after another. Pages are asked for as the stream is polled. It ends after the first error.
pub type Items<T> = BoxStream<'static, Result<T, Error>>;

/// Turns a function from page token to page into the stream of all items.
pub(crate) fn all<T, F, Fut>(first: String, fetch: F) -> Items<T>
where
    T: Send + 'static,
    F: Fn(String) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Page<T>, Error>> + Send,
{
    let begin = (VecDeque::new(), Some(first), fetch);
    stream::try_unfold(begin, |(mut items, mut next, fetch)| async move {
        // A page may be empty and yet not the last.
        while items.is_empty() {
            let Some(token) = next else { return Ok(None) };
            let page = fetch(token).await?;
            items = page.items.into();
            next = page.next;
        }
        Ok(items.pop_front().map(|item| (item, (items, next, fetch))))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn all_pages_follow_each_other_even_past_an_empty_one() {
        let items = all(String::new(), async |token: String| {
            Ok(match token.as_str() {
                "" => Page::new(vec![1, 2], "a".into()),
                "a" => Page::new(vec![], "b".into()),
                _ => Page::new(vec![3], String::new()),
            })
        });
        assert_eq!(items.try_collect::<Vec<_>>().await.unwrap(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn an_error_is_the_last_item() {
        let mut items = all(String::new(), async |token: String| match token.as_str() {
            "" => Ok(Page::new(vec![1], "a".into())),
            _ => Err(Error::new(ErrorKind::NotFound, "gone")),
        });
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        assert_eq!(items.next().await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
        assert!(items.next().await.is_none());
    }
}
