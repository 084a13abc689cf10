"""The app as a Space: for strangers, with models from the Hub alone."""

import os

from hf_finemix.app.serving import serve, work_folder
from hf_finemix.app.settings import AppSettings


if __name__ == "__main__":
    port = int(os.environ.get("GRADIO_SERVER_PORT", "7860"))
    with work_folder(None) as folder:
        serve(AppSettings(folder, hub_only=True, max_upload_mb=20, max_model_gb=2), host="0.0.0.0", port=port)
