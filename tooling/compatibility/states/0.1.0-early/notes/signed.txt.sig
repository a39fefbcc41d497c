{
  "payloadType": "application/vnd.keyturn.statement+json",
  "payload": "eyJ0eXBlIjoia2V5dHVybi5zdGF0ZW1lbnQiLCJzY2hlbWEiOjEsInB1cnBvc2UiOiJmaWxlIiwiaWRlbnRpdHkiOiJFTmpibnJ6RldXR2MzdzFyNXZiZkUtc0lEdU5RQ2cxNlk2TGNwWlhRM0h6ViIsInNuIjoxLCJzYWlkIjoiRUd6RHY2cU9SelRMZTFiWVFsbkUzN2N5bDZqd3dYMzQxSThkRzBZZjBpeEYiLCJzaGEyNTYiOiI0YTFkNmQ4M2E2YTIzNzU3ZDU1MjkxOTA5NzJmNmI1YWI3NGUxMDc1N2IzMDFmZTFjMjMzZDEyMDJlNWNiODA2IiwibmFtZSI6InNpZ25lZC50eHQiLCJjbGFpbWVkX2F0IjoiMjAyNi0xMS0yM1QwMDowMDowMC4wMDBaIn0=",
  "signatures": [
    {
      "keyid": "09ace748c710e1e39ef769be4fa5ef9d1065729d408f1f8b04c283e4195d8a74",
      "sig": "oVoqcJcR3xNMuyFCg5nN+CgOgoQA80QRns8ZSUvhAoIr36YaONeOaPGaV7/pwOVR9UqZP6TP5EWUwIDAdED+Cw=="
    }
  ]
}
