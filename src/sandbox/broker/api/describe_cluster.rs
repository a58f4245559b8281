//! DescribeCluster: the brokers, for admin clients.

use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::messages::describe_cluster_response::DescribeClusterBroker;
use crate::sandbox::broker::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse, text};

pub(super) fn answer(cluster: &Cluster, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let brokers = cluster.nodes.iter().map(|node| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(node.id))
            .with_host(text(node.address.ip().to_string()))
            .with_port(node.address.port().into())
    });
    DescribeClusterResponse::default()
        .with_endpoint_type(request.endpoint_type)
        .with_cluster_id(text(cluster.id.clone()))
        .with_controller_id(BrokerId(cluster.controller()))
        .with_brokers(brokers.collect())
}
