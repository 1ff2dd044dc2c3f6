"""The interactive API documentation page, with all it needs: Swagger UI 5.35.0 (Apache-2.0) is kept beside this file.

Hypervisors and clouds often have no way out, so the page loads nothing from other hosts. Each service serves `page()` at
/docs and the files in `ASSETS` below /docs/assets.
"""

from html import escape
from pathlib import Path
from typing import Final

ASSETS: Final = Path(__file__).parent / "assets"


def page(title: str, openapi_url: str = "openapi.json") -> str:
    """The HTML of /docs. Addresses are relative, so that it works below any prefix a proxy adds."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/assets/favicon-32x32.png">
</head>
<body>
<div id="api"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({{url: "{escape(openapi_url)}", dom_id: "#api", deepLinking: true, validatorUrl: null,
                  persistAuthorization: true, displayRequestDuration: true}})
</script>
</body>
</html>
"""
