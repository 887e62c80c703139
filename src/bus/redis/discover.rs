//! Which servers to talk to, asked anew for each connection: Sentinels and clusters change their minds.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::select_ok};
use redis::{Value, cmd};

use super::{
    fault::Fault,
    node::{Dialer, greet},
    slots::Slots,
    url::{Access, Form, Place},
};

/// Asks whoever knows.
pub(super) struct Discovery {
    form: Form,
    dialer: Dialer,
    /// Servers of the cluster that were heard of: those of the URL may be gone some day.
    heard_of: Vec<Place>,
}

impl Discovery {
    pub(super) fn new(form: Form, dialer: Dialer) -> Self {
        Self { form, dialer, heard_of: Vec::new() }
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(super) fn clustered(&self) -> bool {
        matches!(self.form, Form::Cluster(_))
    }

    /// The masters of now.
    pub(super) async fn ask(&mut self) -> Result<Slots, Fault> {
        match &self.form {
            Form::Single(place) => Ok(Slots::one(place.clone())),
            Form::Sentinel { sentinels, master } => {
                let asked = sentinels.iter().map(|sentinel| ask_sentinel(&self.dialer, sentinel, master).boxed());
                // The first who names a server that takes itself for the master: one Sentinel may be behind.
                Ok(Slots::one(select_ok(asked).await?.0))
            }
            Form::Cluster(seeds) => {
                let more = self.heard_of.iter().filter(|place| !seeds.contains(place));
                let asked = seeds.iter().chain(more).map(|seed| ask_cluster(&self.dialer, seed).boxed());
                let ((slots, replicas), _) = select_ok(asked).await?;
                self.heard_of = [slots.masters.clone(), replicas].concat();
                Ok(slots)
            }
        }
    }
}

/// Which server is the master, after a look whether it says so too.
async fn ask_sentinel(dialer: &Dialer, sentinel: &Place, master: &str) -> Result<Place, Fault> {
    let wrong = |error| Fault::Redis(sentinel.clone(), error);
    let access = Access { user: None, password: None, db: 0, ..dialer.access.clone() };
    let open = Dialer { access, ..dialer.clone() };
    // Sentinels mostly have no password; those that have are taken to have that of Redis.
    let mut connection = match open.connect(sentinel, Arc::new(|_| {})).await {
        Err(Fault::Redis(_, error)) if error.code() == Some("NOAUTH") || error.detail().is_some_and(needs_password) => {
            let access = Access { db: 0, ..dialer.access.clone() };
            Dialer { access, ..dialer.clone() }.connect(sentinel, Arc::new(|_| {})).await?
        }
        connected => connected?,
    };
    greet(sentinel, &mut connection).await?.check_sentinel(sentinel)?;
    let mut ask = cmd("SENTINEL");
    ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let answer: Option<(String, u16)> = ask.query_async(&mut connection).await.map_err(wrong)?;
    let (host, port) = answer.ok_or_else(|| Fault::NoMaster(sentinel.clone(), master.to_owned()))?;
    let place = Place { host, port };
    let mut connection = dialer.connect(&place, Arc::new(|_| {})).await?;
    greet(&place, &mut connection).await?.check(&place, false)?;
    Ok(place)
}

fn needs_password(detail: &str) -> bool {
    detail.contains("NOAUTH") || detail.contains("without any password") || detail.contains("uthentication required")
}

/// Which server has which slot.
async fn ask_cluster(dialer: &Dialer, seed: &Place) -> Result<(Slots, Vec<Place>), Fault> {
    let wrong = |error| Fault::Redis(seed.clone(), error);
    let mut connection = dialer.connect(seed, Arc::new(|_| {})).await?;
    match greet(seed, &mut connection).await?.check(seed, true) {
        // A replica knows as well.
        Ok(()) | Err(Fault::Replica(_)) => {}
        Err(fault) => return Err(fault),
    }
    let answer: Value = cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await.map_err(wrong)?;
    Slots::read(&answer, seed)
}
