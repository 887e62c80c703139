//! Searching: what is found, in which order, by whom, and when.

mod access;
mod bad_input;
mod busy;
mod changes;
mod order;
mod scripts;
mod words;

use relay_proto::chat::v1::{RoomKind, SearchMessagesRequest, SearchMessagesResponse, SearchResult};
use tonic::Status;

use crate::support::Clients;

/// A search for `query` and nothing else.
fn query(query: &str) -> SearchMessagesRequest {
    SearchMessagesRequest { query: query.into(), ..SearchMessagesRequest::default() }
}

/// The same in one room.
fn in_room(text: &str, room: &str) -> SearchMessagesRequest {
    SearchMessagesRequest { room_ids: vec![room.into()], ..query(text) }
}

async fn page(clients: &Clients, request: SearchMessagesRequest) -> Result<SearchMessagesResponse, Status> {
    clients.chat.clone().search_messages(request).await.map(tonic::Response::into_inner)
}

/// All results, page by page.
async fn results(clients: &Clients, mut request: SearchMessagesRequest) -> Vec<SearchResult> {
    let mut all = Vec::new();
    loop {
        let page = page(clients, request.clone()).await.unwrap();
        all.extend(page.results);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

/// The texts of all results.
async fn texts(clients: &Clients, request: SearchMessagesRequest) -> Vec<String> {
    results(clients, request).await.into_iter().map(|result| result.message.unwrap().text).collect()
}

/// What is highlighted, a list a result.
fn marked(results: &[SearchResult]) -> Vec<Vec<&str>> {
    let of = |result: &'_ SearchResult| -> Vec<(usize, usize)> {
        result.highlights.iter().map(|h| (h.offset as usize, (h.offset + h.length) as usize)).collect()
    };
    results
        .iter()
        .map(|result| {
            let text = &result.message.as_ref().unwrap().text;
            of(result).into_iter().map(|(start, end)| &text[start..end]).collect()
        })
        .collect()
}

/// A private room of Ana's with Ben, in which she has said this.
async fn room(ana: &mut Clients, room: &str, said: &[&str]) {
    ana.create_room(room, RoomKind::Private, &["ben"]).await;
    ana.say_all(room, said.iter().map(|text| (*text).to_owned())).await;
}
