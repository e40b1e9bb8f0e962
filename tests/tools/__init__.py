"""What several suites stand on: servers, databases, proxies, clients that speak raw protocol."""
