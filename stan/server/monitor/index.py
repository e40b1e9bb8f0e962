"""The page at `/streaming`: for people who open the monitoring port in a browser."""

INDEX_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Streaming server</title>
<style>
body { font: 18px/1.6 system-ui, sans-serif; margin: 3em auto; max-width: 40em; padding: 0 1em }
dt { font-weight: 600 } dd { margin: 0 0 .6em; color: #555 }
</style>
</head>
<body>
<h1>Streaming server</h1>
<dl>
<dt><a href="./streaming/serverz">server</a></dt>
<dd>version, uptime, totals and traffic</dd>
<dt><a href="./streaming/storez">store</a></dt>
<dd>kind of store, limits, what it holds</dd>
<dt><a href="./streaming/clientsz">clients</a></dt>
<dd>who is connected; <a href="./streaming/clientsz?subs=1">with subscriptions</a></dd>
<dt><a href="./streaming/channelsz">channels</a></dt>
<dd>their names; <a href="./streaming/channelsz?subs=1">with bounds and subscriptions</a></dd>
</dl>
<p>For machines: <a href="./healthz">health</a>, <a href="./metrics">metrics</a>.</p>
</body>
</html>
"""
