"""The shop: an order and the message about it are one transaction.

    python examples/orders/shop.py DATABASE PORT

`curl -X POST -d tea localhost:PORT/orders` orders something.
"""

import sys

from aiohttp import web
from tables import Order, connect_database

import stan


async def take_order(request: web.Request) -> web.Response:
    async with request.app[SESSIONS].begin() as db:
        order = Order(article=await request.text())
        db.add(order)
        await db.flush()  # gives the order its number
        await stan.outbox(db).publish("orders", str(order.id).encode())
    return web.Response(text=f"{order.id}\n")


SESSIONS = web.AppKey("sessions", object)


def main() -> None:
    app = web.Application()
    app[SESSIONS] = connect_database(sys.argv[1])
    app.router.add_post("/orders", take_order)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None)


if __name__ == "__main__":
    main()
