//! Routes to pod ranges, through rtnetlink.

use std::net::Ipv4Addr;

use futures::{StreamExt, TryStreamExt};
use gantry_common::task;
use ipnet::Ipv4Net;
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType},
};

use super::Error;

/// Marks the routes as ours, in the kernel's routing table.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(103);

type Result<T> = std::result::Result<T, Error>;

/// The way to a node's pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Their range.
    pub to: Ipv4Net,
    /// Their node; `None` for this one's own range, whose unused addresses are unreachable.
    pub via: Option<Ipv4Addr>,
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
    let what = what.into();
    move |source| Error::Route { what, source: Box::new(source) }
}

/// Makes our routes in the present namespace be exactly `wanted`; those of others stay as they are.
pub(super) async fn bring(wanted: &[Route]) -> Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(failed("open a netlink socket"))?;
    // Ends with the handle.
    drop(task::spawn("netlink", connection));
    let present = present(&handle).await?;
    let mut result = Ok(());
    // What is replaced is not deleted before: packets would take another way meanwhile.
    let gone = |route: &Route| !wanted.iter().any(|w| w.to == route.to);
    for (route, message) in present.iter().filter(|(route, _)| gone(route)) {
        tracing::info!(pods = %route.to, "removing the route to a node that is gone");
        result = result.and(delete(&handle, route, message).await);
    }
    for route in wanted.iter().filter(|route| !present.iter().any(|(known, _)| known == *route)) {
        let replaced = replace(&handle, route).await;
        if replaced.is_err()
            && let Some((former, message)) = present.iter().find(|(known, _)| known.to == route.to)
        {
            // It leads to where the node is no more.
            result = result.and(delete(&handle, former, message).await);
        }
        result = result.and(replaced);
    }
    result
}

async fn delete(handle: &Handle, route: &Route, message: &RouteMessage) -> Result<()> {
    let what = format!("delete the former route to the pods {}", route.to);
    handle.route().del(message.clone()).execute().await.map_err(failed(what))
}

async fn replace(handle: &Handle, route: &Route) -> Result<()> {
    let builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.to.network(), route.to.prefix_len())
        .protocol(PROTOCOL);
    let (message, what) = match route.via {
        Some(via) => {
            let what = format!(
                "add the route to the pods {} of the node {via} (is it on the same network segment?)",
                route.to
            );
            (builder.gateway(via).build(), what)
        }
        None => {
            let what = format!("add the route for the node's own pods {}", route.to);
            (builder.kind(RouteType::Unreachable).build(), what)
        }
    };
    handle.route().add(message).replace().execute().await.map_err(failed(what))
}

/// Our routes that are there.
async fn present(handle: &Handle) -> Result<Vec<(Route, RouteMessage)>> {
    let mut all = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute().boxed();
    let mut found = Vec::new();
    while let Some(message) = all.try_next().await.map_err(failed("list routes"))? {
        if message.header.protocol == PROTOCOL
            && let Some(route) = read(&message)
        {
            found.push((route, message));
        }
    }
    Ok(found)
}

fn read(message: &RouteMessage) -> Option<Route> {
    let mut to = None;
    let mut via = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => {
                to = Ipv4Net::new(*ip, message.header.destination_prefix_length).ok();
            }
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => via = Some(*ip),
            _ => {}
        }
    }
    Some(Route { to: to?, via })
}
